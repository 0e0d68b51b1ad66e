"""Pure functions from what callers ask for to vSphere's specs. Nothing here does I/O."""
