"""The service's managers and what belongs to no instance."""
