"""What surrounds machines: folders' base, hosts, networks, switches, references and faults."""
