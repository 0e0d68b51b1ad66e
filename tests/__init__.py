"""The tests of vmops."""
