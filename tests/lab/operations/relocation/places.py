"""Where machines can be in a lab, as its client and its directories show it."""

from __future__ import annotations


def names(folder):
    """The files in a folder, None if it is not there."""
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else None


def datastore(client, name):
    return next(each for each in client.datacenter.datastore if each.name == name)


def hosts(client):
    first, second = client.compute.host
    return first, second
