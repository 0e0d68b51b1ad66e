"""What callers pass and get: frozen dataclasses without I/O."""
