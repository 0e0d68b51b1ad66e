"""Resize and cold migration, in Nova's four calls."""
