"""What operations work with."""
