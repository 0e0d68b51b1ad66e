"""What a machine is: its state, configuration, files and what its guest is told."""
