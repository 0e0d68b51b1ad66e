"""The port to whoever runs guests, and the hypervisor that runs none."""
