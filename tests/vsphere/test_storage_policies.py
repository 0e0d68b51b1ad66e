"""The storage policy service: another address, the same session."""

from __future__ import annotations

import pytest

from tests.vsphere.conftest import Place
from tests.vsphere.interposer import Interposer
from tests.vsphere.test_calls import end_session
from vmops.context import operation
from vmops.errors import StoragePolicyNotFound
from vmops.vsphere.session import Session

NAME = "vSAN Default Storage Policy"


def test_policies_are_found_by_name(session: Session) -> None:
    policy = session.storage_policies.named(NAME)
    assert policy in session.storage_policies.all()
    with pytest.raises(StoragePolicyNotFound) as refused:
        session.storage_policies.named(NAME.lower())
    assert NAME in refused.value.available


def test_only_datastores_that_were_asked_about_comply(session: Session) -> None:
    policy = session.storage_policies.named(NAME)
    first, *_ = session.inventory.datastores()
    assert session.storage_policies.compliant(policy, [first]) == {first.moid}
    assert session.storage_policies.compliant(policy, []) == frozenset()


def test_who_has_not_logged_in_anew_is_logged_in(lab: Place) -> None:
    with lab.connect() as session:
        session.storage_policies.all()
        logins = session.client.logins
        end_session(lab, session)
        assert session.storage_policies.named(NAME).name == NAME
        assert session.client.logins == logins + 1


def test_calls_carry_the_operations_id_and_find_a_server_that_was_away(
    disturbed: Session, between: Interposer
) -> None:
    disturbed.storage_policies.all()
    between.operations.clear()
    with operation("spawn") as current:
        disturbed.storage_policies.named(NAME)
    assert between.operations == [current, current]
