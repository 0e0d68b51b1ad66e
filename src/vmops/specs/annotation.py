"""What a virtual machine's notes say of its instance, for people and for tools that know Nova's.

One fact in a line, ``key:value``; the keys are those that Nova's driver writes.
"""

from __future__ import annotations

from vmops.model.instance import Flavor, Instance, Requester


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
        "flavor:name": flavor.name,
        "flavor:memory_mb": flavor.memory_mib,
        "flavor:vcpus": flavor.vcpus,
        "flavor:ephemeral_gb": flavor.ephemeral_gib,
        "flavor:root_gb": flavor.root_gib,
        "flavor:swap": flavor.swap_mib,
        "imageid": image_id,
        "package": package,
    }
    return "".join(f"{key}:{_one_line(value)}\n" for key, value in facts.items())


def _one_line(value: object) -> str:
    """What came from outside must not look like a line of its own."""
    return " ".join(str(value).split())
