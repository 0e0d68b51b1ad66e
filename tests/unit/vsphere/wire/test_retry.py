from __future__ import annotations

import pytest
from pyVmomi import vim

from vmops.errors import Busy, ConnectionLost, NotAuthenticated, SessionOverload, VsphereFault
from vmops.vsphere.wire import coherence, retry
from vmops.vsphere.wire.retry import RetryAction, action_for

READS = ("RetrievePropertiesEx", "FindByUuid", "QueryVirtualDiskUuid", "CurrentTime")
WRITES = ("CreateVM_Task", "CloneVM_Task", "ReconfigVM_Task", "MakeDirectory", "ImportVApp")


@pytest.mark.parametrize("method", [*READS, "CreateContainerView"])
def test_reads_are_repeated_on_a_lost_connection(method: str) -> None:
    assert action_for(ConnectionLost("gone"), method) is RetryAction.BACK_OFF


@pytest.mark.parametrize("method", [*WRITES, "ContinueRetrievePropertiesEx", "WaitForUpdatesEx"])
def test_nothing_else_is_repeated_on_a_lost_connection(method: str) -> None:
    assert action_for(ConnectionLost("gone"), method) is RetryAction.RAISE


@pytest.mark.parametrize("method", [*READS, *WRITES])
def test_an_expired_session_is_renewed_for_every_method(method: str) -> None:
    assert action_for(NotAuthenticated("expired"), method) is RetryAction.LOGIN_AGAIN


@pytest.mark.parametrize("method", ["Login", "Logout"])
def test_logging_in_and_out_renew_nothing(method: str) -> None:
    assert action_for(NotAuthenticated("no"), method) is RetryAction.RAISE


@pytest.mark.parametrize("error", [SessionOverload("later"), Busy("later")])
def test_a_server_that_asks_to_come_later_is_obeyed_for_what_can_be_done_twice(
    error: SessionOverload | Busy,
) -> None:
    assert action_for(error, "RetrievePropertiesEx") is RetryAction.BACK_OFF
    assert action_for(error, "CancelTask") is RetryAction.BACK_OFF
    assert action_for(error, "CreateVM_Task") is RetryAction.RAISE


def test_other_errors_are_raised() -> None:
    assert action_for(VsphereFault("InvalidArgument", ""), "CurrentTime") is RetryAction.RAISE


def test_every_row_says_why() -> None:
    assert all(row.why.endswith(".") for row in retry.TABLE)


def test_the_delays_grow_and_fill_the_window() -> None:
    delays = list(retry.delays(15.0))
    assert sum(delays) == pytest.approx(15.0)
    assert delays[0] < 0.2
    assert delays[:-1] == sorted(delays[:-1])
    assert max(delays) <= 2.0


def test_no_method_that_starts_a_task_counts_as_a_read() -> None:
    methods = {
        info.wsdlName: info
        for kind in (vim.VirtualMachine, vim.Folder, vim.FileManager, vim.VirtualDiskManager)
        for info in kind._GetMethodList()
    }
    assert [name for name, info in methods.items() if info.isTask and coherence.is_read(name)] == []
