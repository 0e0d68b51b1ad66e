"""The engine: what is done to instances, one file per operation."""
