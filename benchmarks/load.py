# SPDX-License-Identifier: MIT
"""
A client that asks as fast as it is answered, for the other benchmarks; and what a process costs.

One thread with epoll; each connection is a viewer with an address of his own. ``Result.client_share`` tells
whether the client was what was slow. With ``discard`` bodies of known length are thrown away in the kernel
(MSG_TRUNC), which costs the client next to nothing; players take them, though.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

READ_BYTES = 1 << 20
_SCRATCH = bytearray(READ_BYTES)


@dataclass(slots=True)
class Result:
    """What one run saw."""

    seconds: float = 0.0
    requests: int = 0
    body_bytes: int = 0
    client_share: float = 0.0
    """Of one core."""
    first_bytes_s: list[float] = field(default_factory=list)

    @property
    def bytes_per_s(self):
        return self.body_bytes / self.seconds

    @property
    def requests_per_s(self):
        return self.requests / self.seconds

    def first_byte_ms(self, share):
        """The quantile, for example 0.99, of the time from the request to the body's first byte."""
        return quantile(self.first_bytes_s, share) * 1000


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


class _Reader:
    """One connection: asks, takes the answer, asks again."""

    def __init__(self, port, paths, host, source, *, discard):
        self._flags = socket.MSG_TRUNC if discard else 0
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = [
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode() for path in paths
        ]
        self._turn = 0

    def ask(self, turn=None):
        self._turn = self._turn + 1 if turn is None else turn
        self._head, self._left, self.first_byte_s = b"", None, None
        self.asked_s = time.perf_counter()
        self.socket.send(self._requests[self._turn % len(self._requests)])

    def take(self):
        """Take what is there; return the body bytes taken, and whether the answer is complete."""
        if self._left is None:
            return self._take_head()
        if self._left < 0:
            return self._take_chunked()
        size = self.socket.recv_into(_SCRATCH, min(self._left, READ_BYTES), self._flags)
        assert size, "the server closed the connection"
        self._note_first()
        self._left -= size
        return size, not self._left

    def _take_head(self):
        data = self.socket.recv(65536)
        assert data, "the server closed the connection"
        self._head += data
        head, found, body = self._head.partition(b"\r\n\r\n")
        if not found:
            return 0, False
        assert head.split(None, 2)[1] == b"200", head
        fields = head.lower()
        if body:
            self._note_first()
        if b"transfer-encoding: chunked" in fields:
            self._left, self._tail = -1, b""
            return self._note_chunk(body)
        self._left = int(fields.partition(b"content-length:")[2].split(None, 1)[0]) - len(body)
        return len(body), not self._left

    def _take_chunked(self):
        data = self.socket.recv(1 << 20)
        assert data, "the server closed the connection"
        self._note_first()
        return self._note_chunk(data)

    def _note_chunk(self, data):
        self._tail = (self._tail + data[-8:])[-8:]
        return len(data), self._tail.endswith(b"\r\n0\r\n\r\n")

    def _note_first(self):
        if self.first_byte_s is None:
            self.first_byte_s = time.perf_counter() - self.asked_s


def drive(port, paths, *, connections, seconds, discard=False):
    """Keep so many connections busy for so long; each asks for the paths in turn."""
    host = f"127.0.0.1:{port}"
    readers = [
        _Reader(port, paths, host, f"127.0.5.{number + 1}", discard=discard) for number in range(connections)
    ]
    poll, by_fd, result = select.epoll(), {}, Result()
    try:
        for number, reader in enumerate(readers):
            by_fd[reader.socket.fileno()] = reader
            poll.register(reader.socket.fileno(), select.EPOLLIN)
            reader.ask(number)
        begun, cpu = time.perf_counter(), time.process_time()
        end = begun + seconds
        while time.perf_counter() < end:
            for fd, _ in poll.poll(1.0):
                reader = by_fd[fd]
                size, is_complete = reader.take()
                result.body_bytes += size
                if is_complete:
                    result.requests += 1
                    result.first_bytes_s.append(reader.first_byte_s)
                    reader.ask()
        result.seconds = time.perf_counter() - begun
        result.client_share = (time.process_time() - cpu) / result.seconds
    finally:
        poll.close()
        for reader in readers:
            reader.socket.close()
    return result


def cpu_s(*pids):
    """Return the CPU seconds that these processes have taken, all their threads, to the nanosecond."""
    spent = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def memory_bytes(pid):
    """Return what of a process is in memory (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def table(title, columns, rows):
    """Print a table in Markdown."""
    print(f"\n| {title} | " + " | ".join(columns) + " |")
    print("| --- " * (len(columns) + 1) + "|")
    for name, *cells in rows:
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def median(values):
    return statistics.median(values)


def hurry(*pids):
    """Put these processes before everything else on the machine, where that is allowed."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))
