"""A machine is made of another one."""
