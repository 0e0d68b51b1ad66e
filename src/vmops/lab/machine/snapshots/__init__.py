"""A machine's snapshots: their tree, their files, and the managed object of each."""
