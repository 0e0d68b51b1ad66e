"""One file per managed object that operations work on."""
