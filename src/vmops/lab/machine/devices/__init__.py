"""A machine's devices: slots, defaults, and how each kind is planned."""
