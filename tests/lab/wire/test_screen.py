import pytest

from tests.lab.client import Client
from tests.lab.machines import virtual_machine


def test_a_screen_is_a_png_of_a_running_machine(client: Client, folder: str) -> None:
    with virtual_machine(client, folder) as vm:
        url = f"/screen?id={vm._moId}"
        assert client.request("GET", url, cookie=False)[0] == 401
        status, _, text = client.request("GET", url)
        assert (status, text) == (503, b"The virtual machine is not powered on.")
        client.result(vm.PowerOnVM_Task())
        status, headers, body = client.request("GET", url)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert body.startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("query", ["", "?id=", "?id=vm-99999", "?id=group-d1", "?id=%00"])
def test_an_unknown_machine_has_no_screen(client: Client, query: str) -> None:
    assert client.request("GET", f"/screen{query}")[0] == 404
