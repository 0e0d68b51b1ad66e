"""Snapshots are created, removed and reverted to."""
