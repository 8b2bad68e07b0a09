# SPDX-License-Identifier: MIT
"""A client that sends exactly the bytes it is told, and shows exactly those that came back."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    code: int
    headers: dict[str, str]
    body: bytes
    is_complete: bool
    """The body has the length that the head announced, or ends with the last chunk."""


class RawClient(Protocol):
    """One connection."""

    def __init__(self):
        self._received = bytearray()
        self.closed = None
        self._waiting = []

    def dataReceived(self, data):
        self._received += data
        self._look()

    def connectionLost(self, reason):
        self.closed = reason.value
        self._look()

    def send(self, *lines, end=b"\r\n\r\n"):
        self.transport.write("\r\n".join(lines).encode() + end)

    def until(self, condition):
        """Wait until the condition holds (looked at whenever something arrives)."""
        waiting = Deferred()
        self._waiting.append((condition, waiting))
        self._look()
        return waiting

    def until_closed(self):
        return self.until(lambda: self.closed is not None)

    def until_received(self, size):
        return self.until(lambda: len(self._received) >= size)

    def _look(self):
        for pair in list(self._waiting):
            if pair[0]():
                self._waiting.remove(pair)
                pair[1].callback(self)

    @property
    def received(self):
        return bytes(self._received)

    @property
    def response(self):
        return parse_response(self.received)


async def eventually(condition):
    """Wait until the condition holds; pytest's own time limit is the only bound."""
    while not condition():
        await deferLater(reactor, 0.005)


def connect(port, source=None):
    """Connect, from another loopback address when one is given."""
    bind = (source, 0) if source else None
    return connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=bind), RawClient())


async def fetch(server, path, *, method="GET", host=None, source=None, **headers):
    """Send one request and read until the server closes."""
    client = await connect(server.port, source)
    fields = {"Host": host or f"127.0.0.1:{server.port}", "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    client.send(f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()))
    await client.until_closed()
    return parse_response(client.received, method)


def parse_response(data, method="GET"):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    code = int(lines[0].split()[1])
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body, is_complete = _unchunk(body)
    else:
        expected = 0 if method == "HEAD" or code in {204, 304} else headers.get("content-length")
        is_complete = expected is None or len(body) == int(expected)
    return Response(code=code, headers=headers, body=body, is_complete=is_complete)


def _unchunk(data):
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body += data[:length]
        data = data[length + 2 :]
    return body, False


async def ask(server, path, *headers):
    client = await connect(server.port)
    client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.send(f"GET {path} HTTP/1.1", "Host: localhost", *headers)
    return client


async def take_rest(client, size):
    client.transport.resumeProducing()
    await client.until(lambda: len(client.received.partition(b"\r\n\r\n")[2]) >= size)
    return client.received.partition(b"\r\n\r\n")[2]
