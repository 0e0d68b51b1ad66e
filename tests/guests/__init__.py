"""Tests that look into real guests."""
