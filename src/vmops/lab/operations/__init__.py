"""What is done to a machine."""
