# SPDX-License-Identifier: MIT
"""What the kernel knows of a connection: how much it holds for a client that does not read."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Any

from twisted.internet import tcp


def is_plain_tcp(transport: Any) -> bool:
    """Tell whether this is Twisted's own TCP, without TLS; a subclass or a wrapper may do otherwise."""
    return type(transport) is tcp.Server and not transport.TLS


def limit_unsent(transport: Any, most_bytes: int) -> None:
    """
    Have the kernel take little more than it can send.

    By default it takes up to 4 MB for each client (net.ipv4.tcp_wmem), whether they are read or not: a
    probe would seem to have taken more than it reads, and a slow reader would cost 4 MB.
    """
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if isinstance(handle, socket.socket) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most_bytes)


def send_more_follows(transport: Any, data: bytes) -> bool:
    """
    Send this now, in a packet with what is sent next (MSG_MORE); return whether all of it was taken.

    What was not taken is written as usual. A connection that is lost is found out when more is sent.
    """
    sent = 0
    with suppress(OSError):
        sent = transport.socket.send(data, socket.MSG_MORE) if data else 0
    if sent < len(data):
        transport.write(data[sent:])
        return False
    return True


def untaken_bytes(transport: Any) -> int:
    """Return how much the client has not acknowledged: here and in the kernel. 0 where it cannot be told."""
    if not is_plain_tcp(transport):
        return 0
    here = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001 (no other way)
    try:
        told = fcntl.ioctl(transport.socket.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # closed
        return int(here)
    (in_kernel,) = struct.unpack("i", told)
    return int(here) + int(in_kernel)
