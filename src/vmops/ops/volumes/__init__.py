"""Volumes on instances: attached, detached, and found again."""
