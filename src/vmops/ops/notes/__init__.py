"""What an instance remembers between two calls."""
