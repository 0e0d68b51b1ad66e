"""The port to whoever runs guests, and the hypervisor that runs none.

Here belongs what QEMU and the rest of the lab say to each other; it imports neither.
"""
