"""What is measured of vmops, beside its peers in the same run: `python -m benchmarks`."""
