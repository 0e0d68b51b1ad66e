"""One module for each figure; its `measure` gives what the report says of it."""
