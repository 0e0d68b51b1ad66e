"""What a request that makes no sense gets: the fault vSphere gives, never a hang or a traceback."""

from __future__ import annotations

import pytest

from tests.lab.kernel.conftest import Wire, envelope
from tests.lab.kernel.small_lab import SmallLab

CURRENT_TIME = (
    '<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this>'
    "</CurrentTime>"
)


def on(wire_type: str, moid: str, method: str, parameters: str = "") -> str:
    return (
        f'<{method} xmlns="urn:vim25"><_this type="{wire_type}">{moid}</_this>'
        f"{parameters}</{method}>"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<a>",
        b"\xff\xfe\x00",
        b"<a/>",
        envelope(""),
        envelope("<CurrentTime/>"),
        envelope(CURRENT_TIME)[:-20],
        envelope(CURRENT_TIME * 2),
        envelope('<CurrentTime xmlns="urn:vim25"><_this>ServiceInstance</_this></CurrentTime>'),
        envelope('<CurrentTime xmlns="urn:vim25"><_this type="">x</_this></CurrentTime>'),
        envelope('<CurrentTime xmlns="urn:vim25"><x/><_this type="Task">x</_this></CurrentTime>'),
        envelope("<a>" * 200 + "</a>" * 200),
    ],
)
def test_what_is_no_call_is_an_invalid_request(wire: Wire, body: bytes | str) -> None:
    answer = wire.post(body)
    assert (answer.status, answer.fault) == (500, "InvalidRequest")


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE a>",
        '<!DOCTYPE a [<!ENTITY x "boom">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    ],
)
def test_a_doctype_is_refused(wire: Wire, doctype: str) -> None:
    body = envelope(CURRENT_TIME).replace("?>", "?>" + doctype, 1)
    answer = wire.post(body)
    assert (answer.status, answer.fault) == (500, "InvalidRequest")
    assert "document type" in answer.text


def test_without_a_session_nothing_is_told(wire: Wire) -> None:
    answer = wire.call(CURRENT_TIME)
    assert (answer.status, answer.fault) == (500, "NotAuthenticated")
    # Not even whether an object exists.
    answer = wire.call(on("VirtualMachine", "vm-999", "PowerOnVM_Task"))
    assert answer.fault == "NotAuthenticated"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (on("VirtualMachine", "vm-999", "PowerOnVM_Task"), "ManagedObjectNotFound"),
        (
            on("HostSystem", "vm-1", "EnterMaintenanceMode_Task", "<timeout>0</timeout>"),
            "ManagedObjectNotFound",
        ),
        (on("NoSuchType", "vm-1", "PowerOnVM_Task"), "InvalidRequest"),
        (on("VirtualMachine", "vm-1", "NoSuchMethod"), "MethodNotFound"),
        (on("VirtualMachine", "vm-1", "CreateVM_Task"), "MethodNotFound"),
        (on("VirtualMachine", "vm-1", "__init__"), "MethodNotFound"),
        (on("VirtualMachine", "vm-1", "read"), "MethodNotFound"),
        (on("VirtualMachine", "vm-1", "ReconfigVM_Task"), "InvalidRequest"),
        (on("VirtualMachine", "vm-1", "PowerOnVM_Task", "<nonsense/>"), "InvalidRequest"),
        (on("VirtualMachine", "vm-1", "Destroy_Task"), "NotSupported"),
        (
            on("VirtualMachine", "vm-1", "ReconfigVM_Task", "<spec><memoryMB>x</memoryMB></spec>"),
            "InvalidRequest",
        ),
        (
            on("VirtualMachine", "vm-1", "ReconfigVM_Task", "<spec><nothing>1</nothing></spec>"),
            "InvalidRequest",
        ),
        (
            on("VirtualMachine", "vm-1", "ReconfigVM_Task", '<spec xsi:type="NoSuchSpec"/>'),
            "InvalidType",
        ),
        (on("VirtualMachine", "vm-1", "Fetch", "<prop>nothing</prop>"), "InvalidProperty"),
        (on("VirtualMachine", "vm-1", "Fetch"), "InvalidRequest"),
        (on("VirtualMachine", "vm-1", "RefreshStorageInfo"), "SystemError"),
        (
            on(
                "VirtualMachine",
                "vm-1",
                "PowerOnVM_Task",
                '<host type="HostSystem">host-1</host>' * 2,
            ),
            "InvalidRequest",
        ),
    ],
)
def test_each_wrong_call_has_its_fault(wire: Wire, body: str, fault: str) -> None:
    wire.login()
    answer = wire.call(body)
    assert (answer.status, answer.fault) == (500, fault)
    assert "Traceback" not in answer.text
    assert "secret" not in answer.text
    assert wire.call(CURRENT_TIME).status == 200


def test_an_unknown_enumeration_value_is_an_invalid_request(wire: Wire) -> None:
    wire.login()
    device = (
        '<spec><deviceChange><operation>explode</operation><device xsi:type="VirtualFloppy">'
        "<key>1</key></device></deviceChange></spec>"
    )
    answer = wire.call(on("VirtualMachine", "vm-1", "ReconfigVM_Task", device))
    assert (answer.status, answer.fault) == (500, "InvalidRequest")


def test_a_fault_with_an_unset_field_is_still_a_fault(wire: Wire) -> None:
    wire.login()
    answer = wire.call(
        on(
            "VirtualMachine",
            "vm-1",
            "AnswerVM",
            "<questionId>1</questionId><answerChoice>1</answerChoice>",
        )
    )
    assert answer.fault == "ConcurrentAccess"


@pytest.mark.parametrize("version", ["urn:vim25/99.0", "urn:pbm/pbm.version.version1", "nonsense"])
def test_a_version_that_is_not_offered_is_refused(wire: Wire, version: str) -> None:
    wire.login()
    answer = wire.call(CURRENT_TIME, action=version)
    assert answer.fault == "InvalidRequest"
    assert "Unsupported version URI" in answer.text


@pytest.mark.parametrize("version", ["", "urn:vim25", "urn:vim25/6.5", "urn:vim25/8.0.3.0"])
def test_a_version_that_is_offered_is_served(wire: Wire, version: str) -> None:
    wire.login()
    assert wire.call(CURRENT_TIME, action=version).status == 200


def test_a_body_beyond_all_measure_is_refused(wire: Wire) -> None:
    wire.login()
    answer = wire.post(b"<" + b"a" * (33 * 1024 * 1024))
    assert (answer.status, answer.fault) == (500, "InvalidRequest")
    wire.close()
    assert wire.call(CURRENT_TIME).status == 200


def test_the_other_paths(wire: Wire) -> None:
    assert wire.send("GET", "/").status == 200
    assert wire.send("GET", "/nothing").status == 404
    assert wire.send("GET", "/sdk").status == 405
    wire.login()
    assert wire.send("POST", "/sdk/", envelope(CURRENT_TIME)).status == 200


def test_calls_are_counted_by_method_and_operation(wire: Wire, lab: SmallLab) -> None:
    wire.login()
    for _ in range(2):
        wire.call(CURRENT_TIME, header="<operationID>op-1</operationID>")
    wire.call(CURRENT_TIME)
    log = lab.wire_log
    assert log.calls()["CurrentTime", "op-1"] == 2
    assert log.methods()["CurrentTime"] == 3
    assert log.methods("op-1") == {"CurrentTime": 2}
    log.clear()
    assert not log.calls()
