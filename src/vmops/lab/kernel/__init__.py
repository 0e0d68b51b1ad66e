"""What every managed object stands on: registry, change notification, tasks, sessions, reads."""
