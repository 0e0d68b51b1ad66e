"""What is done to one instance, and what is told of it."""
