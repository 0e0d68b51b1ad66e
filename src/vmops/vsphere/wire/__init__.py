"""From a method call to bytes: address, trust, connections, retries, faults."""
