"""Snapshots are created, removed and reverted to.

Here belongs what changes a machine's snapshots together with its disks.
"""
