"""What a client costs the lab that has not logged in, or is logged in and sends too much."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.endpoint import Endpoint, endpoint
from benchmarks.report import Figure, Table, number, spread
from benchmarks.run_options import Run

TITLE = "Clients that send too much"

METHOD = """\
One POST to `/sdk` of the lab, by a client without a login or with one, while another client that is
logged in asks for the time every 10 ms. Seconds from the first byte to the answer, a fault; the
longest that the other client waited; and how far the peak of the lab's memory is above what it
was before, all requests up to the row included."""
MIB = 1024**2
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><e:Envelope'
    ' xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>'
)
END = "</e:Body></e:Envelope>"


def reconfigure(inner: str) -> bytes:
    this = '<_this type="VirtualMachine">vm-1</_this>'
    spec = f"<spec>{inner}</spec>"
    return (
        f'{HEAD}<ReconfigVM_Task xmlns="urn:vim25">{this}{spec}</ReconfigVM_Task>{END}'
    ).encode()


def time_call() -> bytes:
    this = '<_this type="ServiceInstance">ServiceInstance</_this>'
    return f'{HEAD}<CurrentTime xmlns="urn:vim25">{this}</CurrentTime>{END}'.encode()


LINES = "31 MiB of text in lines"
ELEMENTS = "200,000 elements"
REQUESTS = {
    LINES: reconfigure("<name>" + "a\n" * (31 * MIB // 2) + "</name>"),
    ELEMENTS: reconfigure(
        '<extraConfig><key>a</key><value xsi:type="ArrayOfString">'
        + "<string/>" * 200_000
        + "</value></extraConfig>"
    ),
}


def measure(run: Run) -> Figure:
    rows = []
    with endpoint(run.scratch / "lab") as lab:
        cookie = logged_in(lab)
        before = peak_mib(lab)
        for name, body in REQUESTS.items():
            for login in ("", cookie):
                taken, waited = [], []
                for _ in range(run.repeat):
                    seconds, longest = sent(lab, body, login, cookie)
                    taken.append(seconds)
                    waited.append(longest * 1e3)
                more = number(peak_mib(lab) - before, 0)
                who = "logged in" if login else "unknown"
                rows.append((who, name, spread(taken), spread(waited, digits=0), more))
    head = ("client", "request", "seconds", "the other waited, ms", "MiB")
    return Figure(TITLE, METHOD, [Table(head, rows, left=2)])


def connection(lab: Endpoint) -> http.client.HTTPSConnection:
    url = urlsplit(lab.login["url"])
    trust = ssl.create_default_context(cafile=lab.login["ca_file"])
    return http.client.HTTPSConnection(str(url.hostname), url.port, context=trust, timeout=300)


def logged_in(lab: Endpoint) -> str:
    """The cookie of a new session."""
    line = connection(lab)
    this = '<_this type="SessionManager">SessionManager</_this>'
    who = f"<userName>{lab.login['username']}</userName>"
    secret = f"<password>{lab.login['password']}</password>"
    body = f'{HEAD}<Login xmlns="urn:vim25">{this}{who}{secret}</Login>{END}'
    line.request("POST", "/sdk", body.encode())
    cookie = str(line.getresponse().headers["Set-Cookie"]).partition(";")[0]
    line.close()
    return cookie


def sent(lab: Endpoint, body: bytes, login: str, others: str) -> tuple[float, float]:
    """Seconds to the answer, and the longest that another client waited for its own."""
    stop = threading.Event()
    waited = [0.0]

    def ask() -> None:
        line = connection(lab)
        while not stop.is_set():
            begin = time.perf_counter()
            line.request("POST", "/sdk", time_call(), {"Cookie": others})
            line.getresponse().read()
            waited.append(time.perf_counter() - begin)
            time.sleep(0.01)
        line.close()

    other = threading.Thread(target=ask)
    other.start()
    line = connection(lab)
    headers: dict[str, Any] = {"Cookie": login} if login else {}
    begin = time.perf_counter()
    with suppress(OSError, http.client.HTTPException):  # it need not listen to the end
        line.request("POST", "/sdk", body, headers)
    with suppress(OSError, http.client.HTTPException):
        line.getresponse().read()
    seconds = time.perf_counter() - begin
    line.close()
    stop.set()
    other.join()
    return seconds, max(waited)


def peak_mib(lab: Endpoint) -> float:
    status = Path(f"/proc/{lab.lab.pid}/status").read_text()
    [line] = [each for each in status.splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
