"""The lab's datastores: directories of this machine with VMDK files in them.

Everything here is synchronous, knows no managed object, and works without QEMU's tools installed.
"""
