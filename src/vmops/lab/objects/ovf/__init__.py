"""OVF packages: read, imported and described.

Here belongs what an OVF descriptor says and how a machine is written as one.
"""
