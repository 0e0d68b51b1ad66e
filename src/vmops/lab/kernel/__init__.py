"""What every managed object stands on: registry, change notification, tasks, sessions, reads.

Here belongs what knows no object of the inventory by its kind.
"""
