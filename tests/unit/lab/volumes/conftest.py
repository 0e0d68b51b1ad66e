"""Labs without guests, and sessions with them: those of the tests of virtual machines."""

from tests.unit.lab.vm.conftest import client, esx, esx_lab, lab, name, own

__all__ = ["client", "esx", "esx_lab", "lab", "name", "own"]
