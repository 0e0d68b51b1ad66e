"""Spawn: from an image to a running instance."""
