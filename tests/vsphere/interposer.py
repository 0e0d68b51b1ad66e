"""Stands between a client and an endpoint, counts the calls, and does harm by rule.

A rule names a SOAP method and what happens to its next call: before the endpoint has it, or after
it was executed and only its answer is on the way.
"""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

When = Literal["before", "after"]
Deed = Literal["cut", "hang", "overload", "garbage"]

_METHOD = re.compile(rb"<(?:[^<>]*:)?Body[^>]*>\s*<(?:\w+:)?(\w+)")
_OPERATION = re.compile(rb"<operationID[^>]*>([^<]*)<")


@dataclass
class Rule:
    method: str
    when: When
    deed: Deed
    times: int


def make_certificate(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """Write a certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class Interposer:
    def __init__(self, upstream: str, folder: Path) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 443)
        self.ca_file, key_file = self.certificate_files(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca_file, key_file)
        self.calls: Counter[str] = Counter()
        self.operations: list[str] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.resume()

    def certificate_files(self, folder: Path) -> tuple[Path, Path]:
        """The certificate that clients see, and its key."""
        return make_certificate(folder)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/sdk"

    def rule(self, method: str, when: When, deed: Deed, times: int = 1) -> None:
        with self._lock:
            self._rules.append(Rule(method, when, deed, times))

    def resume(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def refuse(self) -> None:
        """Listen no more, and cut every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # Closing alone does not wake a thread that waits in accept.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            open_now = list(self._open)
        for sock in open_now:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopped.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._open)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        upstream = self._connect_upstream()
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            upstream.close()
            return
        with self._lock:
            self._open.add(client)
        try:
            with suppress(OSError, http.client.HTTPException, ValueError):
                while self._one(client, upstream):
                    pass
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()
            upstream.close()

    def _connect_upstream(self) -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(*self._upstream, context=context)

    def _one(self, client: ssl.SSLSocket, upstream: http.client.HTTPSConnection) -> bool:
        """Pass one request on, and its answer back; whether the connection is still good."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return False
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        verb, target, _ = lines[0].split(" ")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        while len(body) < int(headers.get("Content-Length", 0)):
            body += client.recv(65536)
        method = self._count(verb, body)
        if not self._harm(client, method, "before"):
            return False
        upstream.request(verb, target, body or None, headers)
        response = upstream.getresponse()
        answer = response.read()
        if not self._harm(client, method, "after"):
            return False
        kept = [
            f"{name}: {value}"
            for name, value in response.getheaders()
            if name.lower() not in {"transfer-encoding", "content-length", "connection"}
        ]
        status = f"HTTP/1.1 {response.status} {response.reason}"
        size = headers_size = len(answer)
        if verb == "HEAD":
            headers_size = int(response.headers.get("Content-Length", size))
        text = "\r\n".join([status, *kept, f"Content-Length: {headers_size}", "", ""])
        client.sendall(text.encode("latin-1") + answer)
        return True

    def _count(self, verb: str, body: bytes) -> str:
        found = _METHOD.search(body)
        method = found[1].decode() if found else verb
        operation = _OPERATION.search(body)
        with self._lock:
            self.calls[method] += 1
            if operation:
                self.operations.append(operation[1].decode())
        return method

    def _harm(self, client: ssl.SSLSocket, method: str, when: When) -> bool:
        with self._lock:
            rule = next(
                (r for r in self._rules if r.method == method and r.when == when and r.times), None
            )
            if rule is None:
                return True
            rule.times -= 1
        match rule.deed:
            case "hang":
                self._stopped.wait(60)
            case "overload":
                client.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                    b"Connection: close\r\n\r\n"
                )
            case "garbage":
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<nonsense")
        return False
