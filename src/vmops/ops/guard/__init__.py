"""Whether an operation may begin."""
