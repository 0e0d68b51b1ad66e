"""Names with characters that vSphere keeps escaped are, for people, the names they gave."""

from __future__ import annotations

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import DuplicateName
from vmops.ops.instances.listing import get_record

GIVEN = {"50%": "50%25", "a%2fb": "a%252fb", "100%25": "100%2525", "%": "%25"}
OTHERS_GIVE = {"a/b": "a%2fb", "a\\b": "a%5cb", "%2f/": "%252f%2f"}


@pytest.mark.parametrize("name", GIVEN)
def test_an_instance(bench: Bench, name: str) -> None:
    mark = a_uuid()[:8]
    instance = bench.spawn(instance=an_instance(name=f"{name} {mark}"), power_on=False)
    kept = second_view.properties(bench.vm(instance), "name")["name"]
    assert kept == f"{GIVEN[name]} {mark}"
    assert get_record(bench.session, instance.uuid).name == instance.name


@needs(Capability.UNIQUE_NAMES)
@pytest.mark.parametrize("name", GIVEN)
def test_one_that_is_taken_is_told_as_it_was_given(bench: Bench, name: str) -> None:
    wanted = f"{name} {a_uuid()[:8]}"
    bench.spawn(instance=an_instance(name=wanted), power_on=False)
    with pytest.raises(DuplicateName, match=repr(wanted)):
        bench.spawn(instance=an_instance(name=wanted))


@needs(Capability.CONTROL)
@pytest.mark.parametrize("name", OTHERS_GIVE)
def test_an_instance_that_somebody_renamed(bench: Bench, name: str) -> None:
    instance = bench.spawn(power_on=False)
    wanted = f"{OTHERS_GIVE[name]} {a_uuid()[:8]}"
    second_view.finished(bench.vm(instance).Rename_Task(wanted))
    assert second_view.properties(bench.vm(instance), "name")["name"] == wanted
    assert get_record(bench.session, instance.uuid).name == wanted.replace(OTHERS_GIVE[name], name)
