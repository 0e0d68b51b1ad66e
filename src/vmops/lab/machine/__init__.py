"""What a machine is: its state, configuration, files, and what its guest is told.

Here belongs what reads or shapes one machine; what changes it at a client's wish is an operation.
"""
