"""A machine's snapshots: their files, their disks, and how the machine shows them.

Here belongs what a snapshot is; taking, removing and reverting are operations.
"""
