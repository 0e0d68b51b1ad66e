"""A machine moves to another host or other datastores."""
