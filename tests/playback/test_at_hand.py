# SPDX-License-Identifier: MIT
"""Segments that are answered at once: their folder is remembered, their file open."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor

from tests.playback.raw import ask, connect, eventually, fetch, take_rest
from tests.playback.streams import Server, ts_stream
from tgsyncd.errors import CatalogError
from tgsyncd.playback import handles, sendfile
from tgsyncd.playback.access import capability_for
from tgsyncd.playback.engine import CacheSettings, Engine
from tgsyncd.playback.settings import AuthMode, ServerSettings

inline = pytest_twisted.ensureDeferred

SEGMENT = "/segment/movie/1/main/segment_0000.ts"


@inline
async def test_a_segment_at_hand_is_answered_as_the_first_time(cached, monkeypatch):
    """Its file is open and its folder known: nothing is looked up, and the answer is the same."""
    first = await fetch(cached, SEGMENT)
    asked = []
    monkeypatch.setattr(cached.catalog, "video", asked.append)
    hits, served = cached.engine.report()["hits"], cached.engine.report()["bytes_served"]
    again = await fetch(cached, SEGMENT)
    assert asked == []
    assert again.body == first.body == cached.stream.segment_bytes(0)
    ours, before = ({**each.headers, "date": ""} for each in (again, first))
    assert ours == before
    await eventually(lambda: cached.engine.report()["bytes_served"] == served + len(again.body))
    assert cached.engine.report()["hits"] == hits + 1


@inline
async def test_one_client_is_not_told_what_another_asked_for(cached):
    """Who wants his connection closed; the next one goes on with his."""
    first = await fetch(cached, SEGMENT, Connection="close")
    assert first.headers["connection"] == "close"
    client = await ask(cached, SEGMENT)
    await take_rest(client, len(first.body))
    assert b"onnection: close" not in client.received[:1000]


@pytest.mark.parametrize("header", ["Range", "If-Range", "If-None-Match"])
@inline
async def test_conditions_are_obeyed_also_for_what_is_at_hand(cached, header):
    """They are for the long way."""
    etag = (await fetch(cached, SEGMENT)).headers["etag"]
    value = "bytes=5-9" if header == "Range" else etag
    answer = await fetch(cached, SEGMENT, **{header: value})
    assert answer.code == {"Range": 206, "If-Range": 200, "If-None-Match": 304}[header]


@inline
async def test_a_video_that_was_deleted_is_gone_where_it_was_remembered(cached):
    """What was looked up holds until something is committed to the catalog."""
    assert (await fetch(cached, SEGMENT)).code == 200
    await cached.catalog.delete_video("movie")
    assert (await fetch(cached, SEGMENT)).code == 404


@inline
async def test_a_capability_that_was_revoked_opens_nothing_where_it_was_remembered(tmp_path):
    """Nor one that somebody made up."""
    secret = b"s" * 32
    settings = ServerSettings(error_delay_s=0.0, auth=AuthMode.SIGNED, capability_secret=secret)
    server = await Server.start(
        tmp_path,
        settings,
        make_engine=lambda catalog, store: Engine(
            catalog, store, reactor, cache=CacheSettings(folder=tmp_path / "cache", ahead_s=0.0)
        ),
    )
    try:
        await server.add("movie", ts_stream())
        generation = server.catalog.video("movie").capability_generation
        path = f"/p/{capability_for(secret, 'movie', generation)}{SEGMENT}"
        for _ in range(3):
            assert (await fetch(server, path)).code == 200
            await eventually(lambda: server.engine.report()["disk"]["files"] == 1)
        assert (await fetch(server, f"/p/{'x' * 32}{SEGMENT}")).code == 403
        assert (await fetch(server, SEGMENT)).code == 403
        await server.catalog.revoke_capabilities("movie")
        assert (await fetch(server, path)).code == 403
    finally:
        await server.stop()


@inline
async def test_another_name_is_refused_also_for_what_is_at_hand(cached):
    """A web page must not reach the server through a name that it controls."""
    await fetch(cached, SEGMENT)
    assert (await fetch(cached, SEGMENT, host="evil.example")).code == 421


@inline
async def test_head_tells_of_what_is_at_hand_and_sends_nothing(cached):
    """It asks how long a segment is."""
    whole = await fetch(cached, SEGMENT)
    answer = await fetch(cached, SEGMENT, method="HEAD")
    assert (answer.code, answer.headers["content-length"]) == (200, f"{len(whole.body)}")
    assert answer.body == b""


@inline
async def test_a_head_that_is_taken_in_part_is_sent_before_the_file(cached, monkeypatch):
    """Also behind an answer that filled the transport's buffer: it resumes us before the rest is written."""
    await cached.add("long", ts_stream((1,) * 1300), document_bytes=1_000_000)
    whole = (await fetch(cached, SEGMENT)).body
    playlist = (await fetch(cached, "/playlist/long.m3u8")).body
    # More than pauses a producer, not more than is written at once.
    assert FileDescriptor.bufferSize < len(playlist) < FileDescriptor.SEND_LIMIT

    def take_little(transport, data):
        if data:
            transport.socket.send(data[:10], socket.MSG_MORE)
            transport.write(data[10:])
        return not data

    monkeypatch.setattr(sendfile, "send_more_follows", take_little)
    client = await connect(cached.port)
    last = [f"GET {SEGMENT} HTTP/1.1", "Host: localhost", "Connection: close"]
    client.send("GET /playlist/long.m3u8 HTTP/1.1", "Host: localhost", "", *last)
    await client.until_closed()
    _, _, rest = client.received.partition(b"\r\n0\r\n\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == whole


@pytest.mark.parametrize("what", ["descriptors", "catalog"])
@inline
async def test_what_fails_on_the_short_way_is_met_on_the_long_one(cached, monkeypatch, what):
    """Which never tells a player of it at once: it is answered late, or broken off."""
    await fetch(cached, SEGMENT)

    answered = []

    def answer(request, _url):
        answered.append(request)
        request.finish()

    def fail(*_, **_more):
        raise CatalogError("broken") if what == "catalog" else OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(cached.site.resource._playback, "answer", answer)
    if what == "catalog":
        monkeypatch.setattr(cached.engine, "at_hand", fail)
    else:
        monkeypatch.setattr(handles.os, "dup", fail)
    await fetch(cached, SEGMENT)
    assert len(answered) == 1


@inline
async def test_no_descriptor_is_left_by_clients_that_leave(cached):
    """In the middle of many answers."""
    await fetch(cached, SEGMENT)

    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    await eventually(lambda: not cached.site.connections)
    before = count()
    for _ in range(10):
        client = await ask(cached, SEGMENT)
        await client.until_received(1000)
        client.transport.pauseProducing()
        client.send(*[f"GET {SEGMENT} HTTP/1.1", "Host: localhost", ""] * 10)
        client.transport.abortConnection()
    await eventually(lambda: not cached.site.connections)
    await eventually(lambda: count() <= before)


@inline
async def test_who_is_served_at_hand_is_a_viewer_like_others(cached):
    """Things are read ahead for him, and kept."""
    third = SEGMENT.replace("0000", "0002")
    (film,) = cached.catalog.renditions("movie", 1)
    for path in (SEGMENT, third):
        await fetch(cached, path)  # opens the file
    for path, order in ((SEGMENT, 0), (third, 2)):
        await fetch(cached, path)
        assert cached.engine.report_stream(film)["viewers_at"] == [order]
    assert cached.engine.report()["viewers"] == 1
