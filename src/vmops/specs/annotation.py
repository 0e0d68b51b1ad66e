"""What a virtual machine's notes say of its instance, for people and for tools that know Nova's.

One fact in a line, ``key:value``; the keys are those that Nova's driver writes.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.model.instance import Flavor, Instance, Requester

_FLAVOR = "flavor:"


def annotation(
    instance: Instance,
    image_id: str,
    requester: Requester,
    package: str,
    *,
    of: Flavor | None = None,
) -> str:
    """The notes of an instance; ``of`` is the flavor that it gets, None: the one it has.

    ``image_id`` is "" for an instance without an image, and ``package`` says which program wrote
    them, "vmops 0.3".
    """
    flavor = of or instance.flavor
    facts = {
        "name": instance.display_name or instance.name,
        "userid": requester.user_id,
        "username": requester.user_name,
        "projectid": requester.project_id or instance.project_id,
        "projectname": requester.project_name,
        **flavor_facts(flavor),
        "imageid": image_id,
        "package": package,
    }
    return "".join(f"{key}:{_one_line(value)}\n" for key, value in facts.items())


def flavor_facts(flavor: Flavor) -> dict[str, str]:
    """What the notes say of a flavor."""
    facts = {
        "name": flavor.name,
        "memory_mb": flavor.memory_mib,
        "vcpus": flavor.vcpus,
        "ephemeral_gb": flavor.ephemeral_gib,
        "root_gb": flavor.root_gib,
        "swap": flavor.swap_mib,
    }
    return {f"{_FLAVOR}{key}": _one_line(value) for key, value in facts.items()}


def told_flavor(notes: str) -> dict[str, str]:
    """What notes say of the flavor; nothing where they are another tool's."""
    found = {}
    for line in notes.splitlines():
        key, colon, value = line.removeprefix(_FLAVOR).partition(":")
        if line.startswith(_FLAVOR) and colon:
            found[_FLAVOR + key] = value
    return found


def with_flavor(notes: str, facts: Mapping[str, str]) -> str:
    """The same notes with other facts of the flavor, where they say them; all else stays."""
    told = told_flavor(notes)
    lines = []
    for line in notes.splitlines(keepends=True):
        key = next((k for k in facts if k in told and line.startswith(f"{k}:")), None)
        lines.append(line if key is None else f"{key}:{facts[key]}\n")
    return "".join(lines)


def _one_line(value: object) -> str:
    """What came from outside must not look like a line of its own."""
    return " ".join(str(value).split())
