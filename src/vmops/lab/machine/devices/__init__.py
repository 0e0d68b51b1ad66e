"""A machine's devices: slots, defaults, and how each kind is planned.

Here belongs what turns a device that a client asks for into one that the machine has.
"""
