# SPDX-License-Identifier: MIT
"""Segments that the kernel sends from the disk cache, over real HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.protocols.policies import WrappingFactory

from tests.playback.raw import ask, connect, eventually, fetch, take_rest
from tgsyncd.playback import bodies, sendfile
from tgsyncd.playback.handles import KEPT_FILES, KEPT_S, Handles
from tgsyncd.playback.spans import WINDOW_BYTES, FileSpan, is_in_page_cache

inline = pytest_twisted.ensureDeferred

SEGMENT = "/segment/movie/1/main/segment_0000.ts"
SECOND = "/segment/movie/1/main/segment_0002.ts"


def held_bytes(server):
    """What waits in the process for clients that do not read."""
    transports = [channel.transport for channel in server.site.connections if channel.requests]
    return sum(len(each.dataBuffer) + each._tempDataLen for each in transports)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-", 0, None), ("bytes=1-", 1, None), ("bytes=3000000-5000000", 3_000_000, 5_000_001)],
)
@inline
async def test_a_cached_segment_and_its_ranges_arrive_whole(cached, header, start, stop):
    """Also over the borders of what is looked for in the page cache at once; then the next request."""
    whole = cached.stream.segment_bytes(0)
    response = await fetch(cached, SEGMENT, Range=header)
    assert response.body == whole[start:stop]
    assert (await fetch(cached, SEGMENT)).body == whole


@inline
async def test_a_client_that_takes_everything_leaves_the_others_their_turn(cached, monkeypatch):
    """A proxy on this machine may take a film as fast as it is sent: all of it in one turn of the reactor."""
    await fetch(cached, "/stream/movie.ts")  # opens the files
    monkeypatch.setattr(bodies, "TURN_BYTES", 6_000_000)
    in_turns = [0]
    monkeypatch.setattr(sendfile.os, "sendfile", lambda _out, _fd, _at, size: count(size))

    def count(size):
        in_turns[-1] += size
        return size

    ticking = LoopingCall(in_turns.append, 0)
    ticking.start(0)
    client = await ask(cached, "/stream/movie.ts")
    try:
        await eventually(lambda: sum(in_turns) >= len(cached.stream.data) - 1)  # the first byte went before
    finally:
        ticking.stop()
    client.transport.abortConnection()
    assert 6_000_000 <= max(in_turns) < 6_000_000 + WINDOW_BYTES


@inline
async def test_nothing_is_held_for_a_client_that_stopped_reading(cached):
    """The file stays in the kernel; the client gets all of it when it reads again."""
    client = await ask(cached, SECOND)
    await client.until_received(1000)
    client.transport.pauseProducing()
    [channel] = [channel for channel in cached.site.connections if channel.requests]
    await eventually(lambda: channel.stalled_since_s is not None)
    await fetch(cached, "/healthz")
    assert held_bytes(cached) == 0
    whole = cached.stream.segment_bytes(2)
    assert len(client.received) < len(whole)
    assert await take_rest(client, len(whole)) == whole
    assert channel.stalled_since_s is None


@inline
async def test_pipelined_requests_are_answered_in_order(cached):
    """What Twisted writes and what the kernel sends do not overtake each other."""
    client = await ask(cached, SEGMENT)
    client.send("GET /healthz HTTP/1.1", "Host: localhost")
    client.send(f"GET {SECOND} HTTP/1.1", "Host: localhost", "Range: bytes=0-99", "Connection: close")
    await client.until_closed()
    rest = client.received
    for body in (cached.stream.segment_bytes(0), None, cached.stream.segment_bytes(2)[:100]):
        _, _, rest = rest.partition(b"\r\n\r\n")
        size = rest.index(b"}\n") + 2 if body is None else len(body)
        assert body is None or rest[:size] == body
        rest = rest[size:]
    assert rest == b""


@inline
async def test_a_file_that_is_removed_meanwhile_is_sent_to_its_end(cached):
    """An eviction does not wait for readers, and hurts none."""
    client = await ask(cached, SEGMENT)
    await client.until_received(1000)
    client.transport.pauseProducing()
    await cached.engine.clean(2**60)
    whole = cached.stream.segment_bytes(0)
    assert await take_rest(client, len(whole)) == whole


@inline
async def test_a_file_that_became_shorter_aborts_the_connection(cached, tmp_path):
    """What was announced cannot be sent: no client may take it for the whole."""
    client = await ask(cached, SEGMENT)
    await client.until_received(1000)
    client.transport.pauseProducing()
    for path in (tmp_path / "cache" / "segments").glob("??/*"):
        os.truncate(path, 3_000_000)
    client.transport.resumeProducing()
    await client.until_closed()
    assert not client.response.is_complete


@inline
async def test_a_transport_that_is_not_plain_tcp_is_written_to(cached):
    """As with TLS, whose bytes have to be encrypted on their way."""
    listening = reactor.listenTCP(0, WrappingFactory(cached.site), interface="127.0.0.1")
    try:
        client = await connect(listening.getHost().port)
        client.send(f"GET {SEGMENT} HTTP/1.1", "Host: localhost", "Connection: close")
        await client.until_closed()
        assert client.response.body == cached.stream.segment_bytes(0)
    finally:
        await listening.stopListening()


@inline
async def test_the_head_does_not_wait_for_the_disk(cached, monkeypatch):
    """A player gives up on who says nothing; the file comes when the disk has it."""
    await fetch(cached, SEGMENT)
    disk = Deferred()
    monkeypatch.setattr(FileSpan, "look", lambda self, _position: (self.stop, disk.called))
    monkeypatch.setattr(FileSpan, "bring", lambda *_: disk)
    client = await ask(cached, SEGMENT)
    await client.until(lambda: b"\r\n\r\n" in client.received)
    disk.callback(None)
    whole = cached.stream.segment_bytes(0)
    assert await take_rest(client, len(whole)) == whole


@inline
async def test_what_is_not_in_the_page_cache_is_read_by_a_thread_first(tmp_path):
    """So the reactor never waits for the disk."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5_000_000))
    asked = []

    def in_thread(work):
        asked.append(work)
        return succeed(work())

    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if is_in_page_cache(fd, 0, 5_000_000):
            pytest.skip("this file system keeps its files in memory")
        span = FileSpan(fd, 100, 5_000_000, in_thread)
        end, is_here = span.look(100)
        assert (end < 5_000_000, is_here) == (True, False)
        await span.bring(100, end)
        assert len(asked) == 1
        assert span.look(100) == (end, True)
    finally:
        os.close(fd)


def open_fds():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_that_stay_open_are_few_and_not_for_ever(tmp_path):
    """Each descriptor handed out is the taker's; how many are kept has a bound, and for how long."""
    path = tmp_path / "file"
    path.write_bytes(b"text")
    handles, before = Handles(), open_fds()
    fd = os.open(path, os.O_RDONLY)
    for number in range(KEPT_FILES + 5):
        handles.keep(f"{number}", fd, 0.0)
    os.close(fd)
    assert open_fds() == before + KEPT_FILES
    assert handles.take("0", 1.0) is None
    taken = handles.take("9", 1.0)
    handles.forget("9")
    assert os.pread(taken, 9, 0) == b"text"
    os.close(taken)
    assert handles.take("9", 1.0) is None
    assert handles.take("10", KEPT_S) is None
    handles.close()
    assert open_fds() == before
