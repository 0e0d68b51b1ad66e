"""OVF packages: read, imported and described."""
