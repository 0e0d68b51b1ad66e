"""What surrounds machines: folders' base, hosts, networks, switches, references and faults.

Here belongs what a machine stands on or in, and knows nothing of how it is made.
"""
