# SPDX-License-Identifier: MIT
"""Who is a client, how many connections each may have, and who goes when all are taken."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from tests.playback.raw import connect, eventually, fetch
from tests.playback.streams import Server, ts_stream
from tgsyncd.logs import Redactor
from tgsyncd.playback.access import capability_for
from tgsyncd.playback.clients import client_of, group_of, is_trusted, parse_networks, redact_path
from tgsyncd.playback.crowd import MIN_STALL_S, Seat, choose_to_close
from tgsyncd.playback.settings import AuthMode, ServerSettings
from tgsyncd.playback.wire import untaken_bytes

inline = pytest_twisted.ensureDeferred

SEGMENT = "/segment/movie/1/main/segment_0000.ts"
OURS = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])


# --- who a client is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ['"[2001:db9::1]:80"'], "2001:db9::1"),
        ("10.0.0.1", ["2001:db9::1"], "2001:db9::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [",,"], "10.0.0.1"),
        ("2001:db8::5", ["198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_our_proxies_speak_for_others(peer, forwarded, client):
    """From the end, for as long as those who wrote it are ours."""
    assert client_of(peer, forwarded, OURS) == client


@given(st.lists(st.text(max_size=30), max_size=5), st.sampled_from(["203.0.113.5", "10.0.0.1", "?"]))
def test_no_header_is_an_error_or_makes_a_stranger_somebody_else(forwarded, peer):
    """Whatever is in it."""
    client = client_of(peer, forwarded, OURS)
    assert client == peer or is_trusted(peer, OURS)


def test_a_home_with_ipv6_is_one_client():
    """It has 64 bits of addresses."""
    assert group_of("2001:db8:1:2:3::4") == group_of("2001:db8:1:2::5") != group_of("2001:db8:1:3::4")
    assert group_of("::ffff:192.0.2.1") == group_of("192.0.2.1") == "192.0.2.1"
    assert group_of("") == ""


def test_capabilities_and_queries_are_taken_out_of_paths():
    """Whatever stands where a capability would."""
    assert redact_path("/p/abc-DEF_123/segment/m/1/main/s.ts?x=/p/y") == "/p/[redacted]/segment/m/1/main/s.ts"
    assert redact_path("http://host/p/secret") == "http://host/p/[redacted]"
    assert redact_path("/playlist/movie.m3u8") == "/playlist/movie.m3u8"


def test_capabilities_are_taken_out_of_every_log_line():
    """A library may log URLs, and an error quote one; a path that only begins like ours stays."""
    key = capability_for(b"k" * 32, "movie", 1)
    line = f"GET http://nas:8080/p/{key}/playlist/movie.m3u8 failed; '/p/{key}'"
    assert Redactor().redact(line).count("/p/[redacted]") == 2
    assert key not in Redactor().redact(line)
    assert Redactor().redact("/srv/p/films/a.mkv") == "/srv/p/films/a.mkv"


# --- who goes ----------------------------------------------------------------------------------------


def asking(number, since_s):
    return Seat(number=number, asks_since_s=since_s)


def reading(number, stalled_since_s=None):
    return Seat(number=number, stalled_since_s=stalled_since_s)


def test_who_has_not_asked_goes_before_who_reads():
    """The one that has been asking for longest; then the longest stalled; nobody who is being served."""
    now_s = 1000.0
    long_ago = now_s - MIN_STALL_S
    seats = [reading(0, 1.0), asking(1, 999.0), asking(2, 998.0), reading(3)]
    assert choose_to_close(seats, now_s) == 2
    assert choose_to_close([reading(0), reading(1, long_ago), reading(2, 5.0)], now_s) == 2
    assert choose_to_close([reading(0), reading(1, long_ago + 0.1)], now_s) is None
    assert choose_to_close([], now_s) is None


@asynccontextmanager
async def serving(tmp_path, **settings):
    clock = Clock()
    clock.advance(1_000_000)
    server = await Server.start(tmp_path, ServerSettings(error_delay_s=0.0, **settings), clock=clock)
    server.clock = clock
    try:
        # 30 MB: more than any socket takes of it.
        await server.add("movie", ts_stream([160_000]), document_bytes=40_000_000)
        yield server
    finally:
        await server.stop()


async def stalled_reader(server, *headers):
    """A client that asks and then does not read; its server's end."""
    before = set(server.site.connections)
    client = await connect(server.port)
    client.send(f"GET {SEGMENT} HTTP/1.1", "Host: localhost", *headers)
    await client.until_received(1)
    client.transport.pauseProducing()
    await eventually(lambda: server.site.connections - before)
    (channel,) = server.site.connections - before
    await eventually(lambda: channel.stalled_since_s is not None)
    return client, channel


async def slow_asker(server):
    client = await connect(server.port)
    client.send("GET /healthz HTTP/1.1", end=b"\r\nX-A: ")
    return client


@inline
async def test_when_all_places_are_taken_the_longest_without_a_request_goes(tmp_path):
    """The newcomer is served; a reader, and whoever came later, stay."""
    async with serving(tmp_path, max_connections=3) as server:
        reader, channel = await stalled_reader(server)
        first = await slow_asker(server)
        await eventually(lambda: len(server.site.connections) == 2)
        server.clock.advance(1)
        second = await slow_asker(server)
        await eventually(lambda: len(server.site.connections) == 3)
        assert (await fetch(server, "/healthz")).code == 200
        await first.until_closed()
        assert second.closed is None
        assert channel in server.site.connections
        assert reader.closed is None


@inline
async def test_when_all_read_the_longest_stalled_goes(tmp_path):
    """Nobody before he has taken nothing for a while; until then the newcomer is refused."""
    async with serving(tmp_path, max_connections=2) as server:
        first, _ = await stalled_reader(server)
        server.clock.advance(1)
        second, channel = await stalled_reader(server)
        refused = await connect(server.port)
        await refused.until_closed()
        server.clock.advance(MIN_STALL_S)
        assert (await fetch(server, "/healthz")).code == 200
        await eventually(lambda: server.site.connections == {channel})
        first.transport.resumeProducing()
        await first.until_closed()
        assert second.closed is None


@inline
async def test_below_the_cap_a_stalled_reader_stays(tmp_path):
    """For hours; he gets everything when he goes on."""
    async with serving(tmp_path, max_connections=2) as server:
        reader, channel = await stalled_reader(server)
        for _ in range(100):
            server.clock.advance(60)
        await fetch(server, "/healthz")
        assert channel in server.site.connections
        reader.transport.resumeProducing()
        whole = ts_stream([160_000]).data
        await reader.until_received(len(whole))
        assert reader.received.endswith(whole[-1000:])


@inline
async def test_one_address_cannot_take_all_places(tmp_path):
    """Its own go first, and then it is refused; others find room."""
    async with serving(tmp_path, max_connections=10, max_connections_per_address=2) as server:
        for _ in range(2):
            await stalled_reader(server)
        refused = await connect(server.port)
        await refused.until_closed()
        assert (await fetch(server, "/healthz", source="127.0.0.2")).code == 200


@inline
async def test_a_proxy_of_ours_has_no_limit_but_its_clients_have(tmp_path):
    """Counted by whom it names; somebody else's X-Forwarded-For says nothing."""
    limits = {"max_connections": 10, "max_connections_per_address": 2}
    async with serving(tmp_path, trusted_proxies=("127.0.0.1/32",), **limits) as server:
        for _ in range(2):
            await stalled_reader(server, "X-Forwarded-For: 198.51.100.1")
        for _ in range(2):
            await stalled_reader(server, "X-Forwarded-For: 198.51.100.1, 198.51.100.2")
        client = await connect(server.port)
        client.send("GET /healthz HTTP/1.1", "Host: localhost", "X-Forwarded-For: 198.51.100.2")
        await client.until_closed()
        assert client.received == b""
        other = await fetch(server, "/healthz", X_Forwarded_For="198.51.100.3")
        assert other.code == 200
        for _ in range(2):
            client = await connect(server.port, "127.0.0.2")
            client.send(f"GET {SEGMENT} HTTP/1.1", "Host: localhost", "X-Forwarded-For: 198.51.100.4")
            await client.until_received(1)
            client.transport.pauseProducing()
        refused = await connect(server.port, "127.0.0.2")
        await refused.until_closed()


@inline
async def test_a_proxys_idle_connection_is_nobodys(tmp_path):
    """It brings the requests of one client after the other."""
    limits = {"max_connections": 10, "max_connections_per_address": 1}
    async with serving(tmp_path, trusted_proxies=("127.0.0.1",), **limits) as server:
        client = await connect(server.port)
        for count in range(1, 4):
            client.send("GET /healthz HTTP/1.1", "Host: localhost", "X-Forwarded-For: 198.51.100.1")
            await client.until(lambda count=count: client.received.count(b'"ok"') == count)
            assert [channel.group for channel in server.site.connections] == [""]


@pytest.mark.parametrize("header", ["Connection: close", "Connection: keep-alive"])
@inline
async def test_an_answer_that_is_not_taken_yet_keeps_its_connection(tmp_path, header):
    """Idle is only who has everything: the end of a segment waits for a player that pauses for minutes."""
    async with serving(tmp_path) as server:
        client = await connect(server.port)
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.transport.pauseProducing()
        client.send(f"GET {SEGMENT} HTTP/1.1", "Host: localhost", "Range: bytes=-60000", header)
        await eventually(lambda: any(untaken_bytes(each.transport) for each in server.site.connections))
        (channel,) = server.site.connections
        await eventually(lambda: not channel.is_answering)
        for _ in range(300):
            server.clock.advance(1)
        await fetch(server, "/healthz")
        assert channel in server.site.connections
        client.transport.resumeProducing()
        await client.until(lambda: len(client.received.partition(b"\r\n\r\n")[2]) == 60_000)
        await eventually(lambda: not untaken_bytes(channel.transport))
        server.clock.advance(76)
        await client.until_closed()
        assert client.response.is_complete


@inline
async def test_a_connection_without_a_request_is_closed(tmp_path):
    """After ten seconds when there was none yet, after 75 s between two; not one by one in the log."""
    async with serving(tmp_path) as server:
        fresh, used = await connect(server.port), await connect(server.port)
        used.send("GET /healthz HTTP/1.1", "Host: localhost")
        await used.until(lambda: b'"ok"' in used.received)
        await eventually(lambda: len(server.site.connections) == 2)
        server.clock.advance(10)
        await fresh.until_closed()
        assert used.closed is None
        server.clock.advance(66)
        await used.until_closed()


@inline
async def test_no_log_line_holds_a_capability(tmp_path, caplog):
    """Answers at debug level with the client's address; errors and refusals too."""
    secret = {"auth": AuthMode.SIGNED, "capability_secret": b"s" * 32, "admin_token": "t0ken-of-the-admin"}
    events = []
    caplog.set_level(logging.DEBUG)
    settings = ServerSettings(error_delay_s=0.0, trusted_proxies=("127.0.0.1",), **secret)
    server = await Server.start(tmp_path, settings)
    try:
        globalLogPublisher.addObserver(events.append)
        try:
            key = "Q" * 32
            for path in (f"/p/{key}/playlist/movie.m3u8?a={key}", f"/p/{key}/nothing", f"/p/{key}"):
                await fetch(server, path, X_Forwarded_For="198.51.100.9")
            await fetch(server, "/videos", Authorization="Bearer t0ken-of-the-admin")
            await server.catalog.close()
            await fetch(server, f"/p/{key}/playlist/movie.m3u8")
        finally:
            globalLogPublisher.removeObserver(events.append)
    finally:
        await server.stop()
    text = repr(events)
    assert "/p/[redacted]/playlist/movie.m3u8" in text
    assert "198.51.100.9" in text
    assert key not in text
    assert "t0ken-of-the-admin" not in text


@inline
async def test_a_crowd_is_reported_once_a_minute(tmp_path):
    """Not once for each of its connections."""
    events = []
    async with serving(tmp_path, max_connections=1) as server:
        globalLogPublisher.addObserver(events.append)
        try:
            clients = [await slow_asker(server) for _ in range(5)]
            await eventually(lambda: sum(client.closed is not None for client in clients) == 4)
            server.clock.advance(61)
            await fetch(server, "/healthz")
        finally:
            globalLogPublisher.removeObserver(events.append)
    reports = [event for event in events if "refused" in event.get("log_format", "")]
    assert len(reports) <= 2


@inline
async def test_the_clock_of_a_later_request_starts_with_its_first_byte(tmp_path):
    """Not with the connection, and also when it came behind another one."""
    async with serving(tmp_path) as server:
        client = await connect(server.port)
        client.send("GET /healthz HTTP/1.1", "Host: localhost", "", "GET /heal", end=b"")
        await client.until(lambda: b'"ok"' in client.received)
        server.clock.advance(9)
        client.send("thz HTTP/1.1", "Host: localhost")
        await client.until(lambda: client.received.count(b'"ok"') == 2)
        server.clock.advance(60)
        client.send("GET", end=b"")
        (channel,) = server.site.connections
        await eventually(lambda: channel._deadline is not None)
        server.clock.advance(10)
        await client.until_closed()
