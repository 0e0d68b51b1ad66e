"""A session that changes nothing: what would be sent is recorded, as a plan."""
