"""The lifecycle of virtual machines on VMware vSphere."""
