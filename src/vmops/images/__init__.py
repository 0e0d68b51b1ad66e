"""Images: the stores they come from, what is in them, and the cache on a datastore."""
