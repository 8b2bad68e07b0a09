# SPDX-License-Identifier: MIT
"""What players notice of a store in trouble; what is kept for clients that are slow, gone or hostile."""

from __future__ import annotations

import socket

import pytest_twisted
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.playback.raw import connect, eventually, fetch
from tests.playback.streams import Server, fmp4_stream, ts_stream
from tgsyncd.playback.engine import Patience
from tgsyncd.playback.settings import ServerSettings

inline = pytest_twisted.ensureDeferred

SEGMENT = "/segment/movie/1/main/segment_0000.ts"


async def ask(server, path, *headers):
    """Send a request and leave the connection open."""
    client = await connect(server.port)
    client.send(f"GET {path} HTTP/1.1", "Host: localhost", *headers)
    return client


def body(client):
    return client.received.partition(b"\r\n\r\n")[2]


@inline
async def test_head_and_first_byte_do_not_wait_for_the_store(server):
    """hls.js gives up when no byte of the body came within 10 s."""
    ts, fmp4 = ts_stream(), fmp4_stream()
    await server.add("movie", ts)
    await server.add("film", fmp4)
    cases = [
        (SEGMENT, ts.segment_bytes(0)),
        ("/segment/film/1/main/segment_0001.m4s", fmp4.segment_bytes(1)),
        ("/segment/film/1/main/init.mp4", fmp4.data[: fmp4.init_bytes]),
        ("/stream/movie.ts", ts.data),
    ]
    for path, whole in cases:
        server.store.hold()
        client = await ask(server, path)
        await client.until(lambda client=client: len(body(client)) == 1)
        assert body(client) == whole[:1]
        server.store.release()
        await client.until(lambda client=client, whole=whole: len(body(client)) >= len(whole))
        assert body(client) == whole
        client.transport.loseConnection()


@inline
async def test_a_range_from_a_packet_boundary_begins_at_once_too(server):
    """ffmpeg resumes with Range; 188 bytes on there is another 0x47."""
    await server.add("movie", ts_stream())
    server.store.hold()
    client = await ask(server, SEGMENT, "Range: bytes=376-")
    await client.until(lambda: body(client) == b"\x47")
    server.store.release()


@inline
async def test_an_unavailable_store_is_asked_again(server):
    """The player sees a slow answer, never an error."""
    stream = ts_stream()
    await server.add("movie", stream)
    server.store.fail_opens = 3
    response = await fetch(server, SEGMENT)
    assert (response.code, response.body) == (200, stream.segment_bytes(0))


@inline
async def test_reading_resumes_at_the_byte_reached(server):
    """What was delivered is not read again."""
    stream = ts_stream()
    await server.add("movie", stream, document_bytes=100_000)
    server.store.break_after.extend([40_000, 10_000])
    response = await fetch(server, SEGMENT)
    assert response.body == stream.segment_bytes(0)
    assert [(one.start, one.stop) for one in server.store.opened] == [
        (0, 100_000),
        (40_000, 100_000),
        (50_000, 100_000),
        (0, len(stream.segment_bytes(0)) - 100_000),
    ]


@inline
async def test_a_lost_document_aborts_the_connection(server):
    """Not 404 and not a clean end: the reset is what no player takes for the whole."""
    await server.add("movie", ts_stream())
    server.store.documents.clear()
    client = await ask(server, SEGMENT)
    await client.until_closed()
    assert not isinstance(client.closed, ConnectionDone)
    assert client.response.code == 200
    assert not client.response.is_complete


@inline
async def test_a_lost_document_is_a_gap_for_the_next_viewer(server):
    """Its URL goes on answering as ever; the rest of the film plays."""
    stream = ts_stream([300] * 5)
    await server.add("movie", stream, document_bytes=len(stream.segment_bytes(0)))
    before = await fetch(server, "/playlist/movie.m3u8")
    del server.store.documents["memory-2"]
    lost = "/segment/movie/1/main/segment_0002.ts"
    for _ in range(2):
        client = await ask(server, lost)
        await client.until_closed()
        assert client.response.code == 200
        assert body(client) == b"\x47"
    after = await fetch(server, "/playlist/movie.m3u8")
    assert after.headers["etag"] != before.headers["etag"]
    lines = after.body.decode().splitlines()
    assert lines.count("#EXT-X-GAP") == 1
    assert lines[lines.index("#EXT-X-GAP") + 2].endswith(lost)
    for order in (1, 3):
        response = await fetch(server, f"/segment/movie/1/main/segment_{order:04}.ts")
        assert response.body == stream.segment_bytes(order)


@inline
async def test_a_lost_document_holds_its_reader(tmp_path):
    """Headers and first byte at once, as when the store is slow; the abort comes after the whole budget."""
    clock = Clock()
    server = await Server.start(tmp_path, clock=clock, patience=Patience())
    try:
        await server.add("movie", ts_stream())
        server.store.documents.clear()
        client = await ask(server, SEGMENT)
        await client.until(lambda: body(client) == b"\x47")
        clock.pump([1.0] * 99)
        await fetch(server, "/healthz")
        assert client.closed is None
        clock.pump([1.0] * 3)
        await client.until_closed()
        assert not isinstance(client.closed, ConnectionDone)
    finally:
        await server.stop()


@inline
async def test_a_video_that_is_deleted_while_it_plays_is_no_error(server):
    """The player's answer breaks off; the log has a line for information, and that is all."""
    await server.add("movie", ts_stream([3000] * 3), document_bytes=100_000)
    server.store.hold()
    client = await ask(server, SEGMENT)
    await client.until(lambda: body(client) == b"\x47")
    with capturedLogs() as events:
        await server.catalog.delete_video("movie")
        server.store.documents.clear()
        server.store.release()
        client.transport.resumeProducing()
        await client.until_closed()
    assert not client.response.is_complete
    levels = {(event["log_level"].name, event["log_namespace"]) for event in events}
    assert ("info", "tgsyncd.playback.bodies") in levels
    assert not {level for level, _ in levels} & {"warn", "error", "critical"}


@inline
async def test_corrupt_bytes_never_arrive_complete(server):
    """The sha256 of a whole segment is checked before its last bytes go out, with Range: bytes=0- too."""
    stream = ts_stream()
    await server.add("movie", stream, document_bytes=len(stream.data))
    name = next(iter(server.store.documents))
    data = bytearray(server.store.documents[name])
    data[1000] ^= 1
    server.store.documents[name] = bytes(data)
    for headers in ([], ["Range: bytes=0-"]):
        client = await ask(server, SEGMENT, *headers)
        await client.until_closed()
        assert not isinstance(client.closed, ConnectionDone)
        assert len(body(client)) < len(stream.segment_bytes(0))
    assert (await fetch(server, "/segment/movie/1/main/segment_0001.ts")).is_complete


@inline
async def test_another_first_byte_than_announced_aborts(server):
    """What went out early cannot be taken back."""
    stream = ts_stream()
    await server.add("movie", stream, document_bytes=len(stream.data))
    name = next(iter(server.store.documents))
    server.store.documents[name] = b"\0" + server.store.documents[name][1:]
    client = await ask(server, SEGMENT, "Range: bytes=0-500")
    await client.until_closed()
    assert body(client) == b"\x47"


@inline
async def test_patience_ends_with_an_abort(tmp_path):
    """After the whole budget, about 100 s without a byte; not before."""
    clock = Clock()
    server = await Server.start(tmp_path, clock=clock, patience=Patience())
    try:
        await server.add("movie", ts_stream())
        server.store.fail_opens = 10_000
        client = await ask(server, SEGMENT)
        await client.until(lambda: body(client) == b"\x47")
        for _ in range(90):
            clock.advance(1)
        await fetch(server, "/healthz")
        assert client.closed is None
        for _ in range(12):
            clock.advance(1)
        await client.until_closed()
        assert len(server.store.opened) < 25
        assert not isinstance(client.closed, ConnectionDone)
    finally:
        await server.stop()


@inline
async def test_a_client_that_leaves_before_the_abort_is_not_aborted(tmp_path):
    """The abort waits a second; a connection that is gone by then has nothing left to reset."""
    clock = Clock()
    server = await Server.start(tmp_path, ServerSettings(error_delay_s=3.5), clock=clock)

    def aborts():
        return [call for call in clock.getDelayedCalls() if call.getTime() == 3.5]

    try:
        await server.add("movie", ts_stream())
        server.store.documents.clear()
        client = await ask(server, SEGMENT)
        await eventually(aborts)
        client.transport.abortConnection()
        await eventually(lambda: not aborts())
    finally:
        await server.stop()


@inline
async def test_a_client_that_leaves_frees_the_store(server):
    """Its read is cancelled; another client of the same segment is not."""
    stream = ts_stream()
    await server.add("movie", stream)
    server.store.hold()
    leaving, staying = await ask(server, SEGMENT), await ask(server, SEGMENT)
    await eventually(lambda: server.store.open_now == 2)
    leaving.transport.abortConnection()
    await eventually(lambda: server.store.open_now == 1)
    server.store.release()
    await staying.until(lambda: len(body(staying)) == len(stream.segment_bytes(0)))
    await eventually(lambda: server.store.open_now == 0)


@inline
async def test_a_client_that_leaves_while_it_was_slow_frees_the_store(server):
    """Also when what is waited for is the client."""
    await server.add("movie", ts_stream([60_000]), document_bytes=20_000_000)
    client = await ask(server, SEGMENT)
    client.transport.pauseProducing()
    await _stops_growing(server)
    assert server.store.open_now == 1
    client.transport.abortConnection()
    await eventually(lambda: server.store.open_now == 0)


async def _stops_growing(server):
    """Wait until nothing more is read for the clients."""
    seen, same = -1, 0
    while same < 20:
        await eventually(lambda: True)
        await fetch(server, "/healthz")
        same = same + 1 if server.store.bytes_read == seen else 0
        seen = server.store.bytes_read


@inline
async def test_a_slow_client_holds_little_and_loses_nothing(server):
    """At most 256 KiB wait for it here; it is not closed, and gets everything in the end."""
    stream = ts_stream([60_000])
    await server.add("movie", stream, document_bytes=20_000_000)
    client = await ask(server, SEGMENT)
    client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.transport.pauseProducing()
    await _stops_growing(server)
    [waiting] = [channel.transport for channel in server.site.connections if channel.requests]
    held = len(waiting.dataBuffer) - waiting.offset + waiting._tempDataLen
    assert held <= 256 * 1024
    assert server.store.bytes_read < len(stream.data)
    client.transport.resumeProducing()
    await client.until_received(len(stream.data))
    await eventually(lambda: len(body(client)) == len(stream.data))
    assert body(client) == stream.data


@inline
async def test_errors_wait(tmp_path):
    """ffmpeg asks again 550 times in 0.3 s; other clients are answered meanwhile."""
    clock = Clock()
    server = await Server.start(tmp_path, ServerSettings(), clock=clock)
    try:
        paths = ["/playlist/unknown.m3u8", "/segment/unknown/1/main/segment_0000.ts", "/stream/%00"]
        clients = [await ask(server, path) for path in paths]
        leaving = await ask(server, paths[0])
        await eventually(lambda: sum(len(c.requests) for c in server.site.connections) == 4)
        leaving.transport.abortConnection()
        await eventually(lambda: len(server.site.connections) == 3)
        clock.advance(0.99)
        assert (await fetch(server, "/healthz")).code == 200
        assert [client.received for client in clients] == [b"", b"", b""]
        clock.advance(0.01)
        for client, code in zip(clients, (404, 404, 400), strict=True):
            await client.until(lambda client=client: body(client))
            assert client.response.code == code
    finally:
        await server.stop()


@inline
async def test_a_request_must_arrive_in_ten_seconds(tmp_path):
    """In all: a byte now and then prolongs nothing."""
    clock = Clock()
    server = await Server.start(tmp_path, ServerSettings(), clock=clock)
    try:
        clients = [await connect(server.port) for _ in range(2)]
        clients[0].send("GET /healthz HTTP/1.1", end=b"\r\nX-A: ")
        clients[1].send("GET", end=b" ")
        await eventually(lambda: sum(c._deadline is not None for c in server.site.connections) == 2)
        for _ in range(9):
            clock.advance(1)
            clients[0].transport.write(b"a")
            await fetch(server, "/healthz")
        assert clients[0].closed is None
        clock.advance(1.5)
        for client in clients:
            await client.until_closed()
    finally:
        await server.stop()


@inline
async def test_an_answer_has_no_deadline(tmp_path):
    """A paused player looks like a hostile one: it is waited for."""
    clock = Clock()
    server = await Server.start(tmp_path, ServerSettings(), clock=clock, patience=Patience(stall_s=1e9))
    try:
        stream = ts_stream()
        await server.add("movie", stream)
        server.store.hold()
        client = await ask(server, SEGMENT)
        await client.until(lambda: body(client) == b"\x47")
        client.transport.write(b"GET /healthz HTTP/1.1\r\nX")
        for _ in range(100):
            clock.advance(60)
        await fetch(server, "/healthz")
        assert client.closed is None
        server.store.release()
        await client.until(lambda: len(body(client)) == len(stream.segment_bytes(0)))
    finally:
        await server.stop()


@inline
async def test_a_request_body_is_not_kept(server):
    """However long it is, and the answer comes all the same."""
    client = await connect(server.port)
    client.send("GET /healthz HTTP/1.1", "Host: localhost", "Connection: close", "Content-Length: 3000000")
    client.transport.write(b"x" * 3_000_000)
    await client.until_closed()
    assert client.response.code == 200


@inline
async def test_a_head_too_long_is_refused(server):
    """16 KiB are the limit."""
    response = await fetch(server, "/healthz", X_Long="a" * 15_000)
    assert response.code == 200
    response = await fetch(server, "/healthz", X_Long="a" * 9_000, X_More="a" * 9_000)
    assert response.code == 400


@inline
async def test_http_1_0_is_served(server):
    """No Host, no chunks: the playlist ends with the connection."""
    await server.add("movie", ts_stream())
    client = await connect(server.port)
    client.send("GET /playlist/movie.m3u8 HTTP/1.0")
    await client.until_closed()
    assert client.received.endswith(b"#EXT-X-ENDLIST\n")
    assert b"chunked" not in client.received


@inline
async def test_a_catalog_in_trouble_is_a_late_500(tmp_path, server):
    """JSON, readable by web players, and no words of ours inside."""
    await server.add("movie", ts_stream())
    await server.catalog.close()
    response = await fetch(server, SEGMENT)
    assert response.code == 500
    assert response.headers["access-control-allow-origin"] == "*"
