# SPDX-License-Identifier: MIT
"""What the playback routes answer, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import m3u8
import pytest
import pytest_twisted

from tests.playback.raw import connect, fetch
from tests.playback.streams import Server, fmp4_stream, ts_stream
from tgsyncd.model import Container, RenditionKind
from tgsyncd.playback.access import capability_for
from tgsyncd.playback.app import Api
from tgsyncd.playback.settings import AuthMode, ServerSettings

inline = pytest_twisted.ensureDeferred

SEGMENT = "/segment/movie/1/main/segment_0000.ts"


@inline
async def test_a_playlist_names_every_segment_by_an_absolute_url(server):
    """The m3u8 package reads it; the URLs are those the client came by."""
    await server.add("movie", ts_stream())
    response = await fetch(server, "/playlist/movie.m3u8")
    assert (response.code, response.is_complete) == (200, True)
    assert response.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert response.headers["cache-control"] == "no-cache"
    assert "content-length" not in response.headers
    playlist = m3u8.loads(response.body.decode())
    assert playlist.version == 6
    assert playlist.target_duration == 6
    assert playlist.is_endlist
    assert [segment.uri for segment in playlist.segments] == [
        f"{server.url}/segment/movie/1/main/segment_{order:04d}.ts" for order in range(3)
    ]
    same = await fetch(server, "/playlist/movie/1/main.m3u8")
    assert same.body == response.body


@inline
async def test_kleins_tree_hands_over_what_players_ask_for(server):
    """It is the one table of routes: a server of it alone answers the same, only more slowly."""
    await server.add("movie", ts_stream())
    paths = ["/playlist/movie.m3u8", SEGMENT, "/stream/movie.ts", "/play/movie", "/static/player.js"]
    paths += ["/test-jellyfin.m3u8", "/segment/..%5csecret", "/static/other", "/videos", "/healthz"]
    usual = [await fetch(server, path) for path in paths]
    root = server.site.resource
    root._handed_over = frozenset()
    by_tree = [await fetch(server, path) for path in paths]
    assert [each.code for each in by_tree] == [200] * 6 + [400, 404] + [200] * 2
    assert [(each.code, each.body) for each in by_tree] == [(each.code, each.body) for each in usual]


def test_every_route_of_kleins_tree_is_in_the_docs():
    """And every one in the docs is in the tree; below ``/p/`` stand the same ones."""
    text = Path(__file__).parents[2].joinpath("docs", "http.md").read_text()
    rows = [line.split("|")[1] for line in text.split("## Who may")[0].splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`(?:[A-Z]+ )?/([^/<`]+)", row)}
    assert told == {rule.rule.split("/")[1] for rule in Api.app.url_map.iter_rules()} - {"p"}


@inline
async def test_every_segment_of_a_playlist_comes_back_whole(server):
    """What the playlist names is the stream, byte for byte, also over document boundaries."""
    stream = ts_stream()
    await server.add("movie", stream, document_bytes=70_001)
    for order in range(3):
        response = await fetch(server, f"/segment/movie/1/main/segment_{order:04d}.ts")
        assert response.code == 200
        assert response.is_complete
        assert response.body == stream.segment_bytes(order)
        assert response.headers["content-type"] == "video/mp2t"
        assert response.headers["accept-ranges"] == "bytes"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(response.body).hexdigest().startswith(response.headers["etag"][1:-1])


@inline
async def test_fmp4_has_an_initialization_section(server):
    """EXT-X-MAP, .m4s and .mp4, all video/mp4."""
    stream = fmp4_stream()
    await server.add("movie", stream)
    response = await fetch(server, "/playlist/movie.m3u8")
    playlist = m3u8.loads(response.body.decode())
    assert playlist.version == 7
    assert playlist.segment_map[0].uri == f"{server.url}/segment/movie/1/main/init.mp4"
    init = await fetch(server, "/segment/movie/1/main/init.mp4")
    assert init.body == stream.data[: stream.init_bytes]
    assert init.headers["content-type"] == "video/mp4"
    segment = await fetch(server, "/segment/movie/1/main/segment_0001.m4s")
    assert segment.body == stream.segment_bytes(1)
    assert segment.headers["content-type"] == "video/mp4"
    whole = await fetch(server, "/stream/movie.mp4")
    assert whole.body == stream.data


@inline
async def test_the_short_segment_url_follows_the_current_revision(server):
    """It is not immutable, because a new revision has other bytes under it."""
    first, second = ts_stream(seed=1), ts_stream(seed=2)
    await server.add("movie", first)
    before = await fetch(server, "/segment/movie/segment_0000.ts")
    await server.add("movie", second)
    after = await fetch(server, "/segment/movie/segment_0000.ts")
    assert before.body == first.segment_bytes(0)
    assert after.body == second.segment_bytes(0)
    assert before.headers["etag"] != after.headers["etag"]
    assert after.headers["cache-control"] == "no-cache"
    old = await fetch(server, "/segment/movie/1/main/segment_0000.ts")
    assert old.body == first.segment_bytes(0)


@inline
async def test_a_revision_in_the_making_does_not_play(server):
    """Until it is published there is nothing to ask for."""
    await server.add("movie", ts_stream(), publish=False)
    response = await fetch(server, "/playlist/movie.m3u8")
    assert response.code == 404
    assert "not ready" in json.loads(response.body)["error"]


@inline
async def test_several_renditions_make_a_multivariant_playlist(server):
    """One group a codec, and the picture once for each."""
    main = ts_stream(codecs="hvc1.1.6.L93.B0")
    aac = ts_stream(codecs="mp4a.40.2", name="audio-1", kind=RenditionKind.AUDIO, language="en")
    ac3 = ts_stream(codecs="ac-3", name="audio-2", kind=RenditionKind.AUDIO, language="de")
    await server.add("movie", main, ac3, aac)
    response = await fetch(server, "/playlist/movie.m3u8")
    playlist = m3u8.loads(response.body.decode())
    assert [item.stream_info.codecs for item in playlist.playlists] == [
        "hvc1.1.6.L93.B0,mp4a.40.2",
        "hvc1.1.6.L93.B0,ac-3",
    ]
    assert {item.uri for item in playlist.playlists} == {f"{server.url}/playlist/movie/1/main.m3u8"}
    for media in playlist.media:
        inner = await fetch(server, media.uri.removeprefix(server.url))
        segments = m3u8.loads(inner.body.decode()).segments
        part = await fetch(server, segments[0].uri.removeprefix(server.url))
        assert part.code == 200


# --- conditions and ranges ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, 1),
        ("bytes=5-99", 5, 100),
        ("bytes=188-", 188, None),
        ("bytes=-100", -100, None),
        ("bytes=-9999999", 0, None),
        ("bytes=100-99999999", 100, None),
    ],
)
@inline
async def test_one_range_is_a_206(server, header, start, stop):
    """Exactly the bytes asked for, and where they stand."""
    stream = ts_stream()
    await server.add("movie", stream)
    response = await fetch(server, SEGMENT, Range=header)
    whole = stream.segment_bytes(0)
    assert response.code == 206
    assert response.body == whole[start:stop]
    at = len(whole) + start if start < 0 else start
    last = at + len(response.body) - 1
    assert response.headers["content-range"] == f"bytes {at}-{last}/{len(whole)}"


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0", "bytes=0-1,5-6"])
@inline
async def test_an_impossible_range_is_a_416(server, header):
    """With the length, so that the client can ask better."""
    stream = ts_stream()
    await server.add("movie", stream)
    response = await fetch(server, SEGMENT, Range=header)
    assert response.code == 416
    assert response.headers["content-range"] == f"bytes */{len(stream.segment_bytes(0))}"
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("header", ["bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=", "nonsense"])
@inline
async def test_a_malformed_range_is_ignored(server, header):
    """As RFC 9110 wants it."""
    await server.add("movie", ts_stream())
    assert (await fetch(server, SEGMENT, Range=header)).code == 200


@inline
async def test_if_none_match_saves_the_body(server):
    """304 without a body, for playlists and segments."""
    await server.add("movie", ts_stream())
    for path in (SEGMENT, "/playlist/movie.m3u8", "/stream/movie.ts"):
        etag = (await fetch(server, path)).headers["etag"]
        response = await fetch(server, path, If_None_Match=f'"other", W/{etag}')
        assert (response.code, response.body) == (304, b"")
        assert response.headers["etag"] == etag
        assert (await fetch(server, path, If_None_Match='"other"')).code == 200


@inline
async def test_if_range_guards_the_range(server):
    """A range of something else is answered with the whole."""
    await server.add("movie", ts_stream())
    etag = (await fetch(server, SEGMENT)).headers["etag"]
    assert (await fetch(server, SEGMENT, Range="bytes=0-9", If_Range=etag)).code == 206
    for other in (f"W/{etag}", '"other"', "Sun, 06 Nov 1994 08:49:37 GMT"):
        assert (await fetch(server, SEGMENT, Range="bytes=0-9", If_Range=other)).code == 200


@inline
async def test_ranges_of_the_whole_stream(server):
    """Over segments and documents alike."""
    stream = ts_stream()
    await server.add("movie", stream, document_bytes=50_000)
    response = await fetch(server, "/stream/movie.ts", Range="bytes=49990-150010")
    assert response.code == 206
    assert response.body == stream.data[49990:150011]
    assert (await fetch(server, "/stream/movie.mp4")).code == 404


@inline
async def test_a_playlist_knows_no_ranges(server):
    """VLC asks for one, and takes the whole."""
    await server.add("movie", ts_stream())
    response = await fetch(server, "/playlist/movie.m3u8", Range="bytes=0-")
    assert response.code == 200
    assert "accept-ranges" not in response.headers


@inline
async def test_head_tells_what_get_would(server):
    """The same head, the right length, no body, and the store is not asked."""
    stream = ts_stream()
    await server.add("movie", stream)
    for path in (SEGMENT, "/stream/movie.ts", "/playlist/movie.m3u8"):
        head = await fetch(server, path, method="HEAD")
        opened = len(server.store.opened)
        get = await fetch(server, path)
        assert (head.code, head.body) == (200, b"")
        names = {"content-type", "content-length", "etag", "cache-control", "accept-ranges"}
        assert {n: head.headers.get(n) for n in names} == {n: get.headers.get(n) for n in names}
        assert opened == 0 or path != SEGMENT
    with_range = await fetch(server, SEGMENT, method="HEAD", Range="bytes=0-9")
    assert with_range.code == 200


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/playlist/unknown.m3u8", 404),
        ("/playlist/movie/2/main.m3u8", 404),
        ("/playlist/movie/1/other.m3u8", 404),
        ("/segment/movie/1/main/segment_0003.ts", 404),
        ("/segment/movie/1/main/segment_0000.m4s", 404),
        ("/segment/movie/1/main/init.mp4", 404),
        ("/playlist/UPPER.m3u8", 400),
        ("/playlist/..%2f..%2fetc%2fpasswd.m3u8", 400),
        ("/playlist/../../../etc/passwd", 400),
        ("/segment/movie/1/main/segment_00.ts", 400),
        ("/segment/movie/1/main/segment_0000.ts;a=b", 400),
        ("/segment/movie/1/main/%73egment_0000.ts", 400),
        ("/segment/movie/1/main/..\\..\\catalog.db", 400),
        ("/stream/movie.mkv", 400),
        ("/p/short/playlist/movie.m3u8", 400),
        ("/nothing", 404),
        ("/", 404),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/videos/unknown", 404),
        ("/videos/UPPER", 400),
    ],
)
@inline
async def test_errors_are_short_json(server, path, code):
    """Unknown is 404, impossible is 400, and players on other origins can read both."""
    await server.add("movie", ts_stream())
    response = await fetch(server, path)
    assert response.code == code
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body)["error"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    if path.startswith(("/playlist", "/segment", "/stream", "/p/")):
        assert response.headers["access-control-allow-origin"] == "*"


@inline
async def test_a_query_changes_nothing(server):
    """Players and proxies add their own (?static=true)."""
    await server.add("movie", ts_stream())
    assert (await fetch(server, SEGMENT + "?static=true&x=/../..")).code == 200


@inline
async def test_preflight(server):
    """A web player on another origin may ask with Range."""
    response = await fetch(server, SEGMENT, method="OPTIONS", Origin="https://jellyfin.example")
    assert response.code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert "Range" in response.headers["access-control-allow-headers"]
    assert "GET" in response.headers["access-control-allow-methods"]


@inline
async def test_playback_is_read_only(server):
    """405 for the rest, with what is allowed."""
    response = await fetch(server, SEGMENT, method="POST", Content_Length="0")
    assert response.code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


@inline
async def test_foreign_hosts_are_refused(tmp_path):
    """A name that somebody's DNS points at us is not ours; addresses and our own names are."""
    settings = ServerSettings(
        error_delay_s=0.0, public_urls=("https://media.example/tv",), allowed_hosts=("nas",)
    )
    server = await Server.start(tmp_path, settings)
    try:
        await server.add("movie", ts_stream())
        for host, code in [
            ("evil.example", 421),
            ("evil.example:8080", 421),
            ("media.example", 200),
            ("MEDIA.example:443", 200),
            ("nas:8080", 200),
            ("192.168.1.4:8080", 200),
            ("[::1]:8080", 200),
            ("localhost", 200),
            ("a b", 400),
            ("", 400),
        ]:
            response = await fetch(server, "/playlist/movie.m3u8", host=host or " ")
            assert (host, response.code) == (host, code)
            if code == 200:
                assert b"https://media.example/tv/segment/" in response.body
        assert (await fetch(server, "/healthz", host="evil.example")).code == 421
    finally:
        await server.stop()


@inline
async def test_a_playlist_uses_the_public_url_it_came_by(tmp_path):
    """Else the first."""
    urls = ("http://192.168.1.100:8080", "https://media.example")
    server = await Server.start(tmp_path, ServerSettings(error_delay_s=0.0, public_urls=urls))
    try:
        await server.add("movie", ts_stream())
        for host, expected in [
            ("192.168.1.100:8080", urls[0]),
            ("media.example", urls[1]),
            ("media.example:443", urls[1]),
            ("media.example:8080", urls[0]),
            ("10.0.0.1", urls[0]),
        ]:
            response = await fetch(server, "/playlist/movie.m3u8", host=host)
            assert f"\n{expected}/segment/".encode() in response.body
    finally:
        await server.stop()


# --- signed ------------------------------------------------------------------------------------------


@inline
async def test_a_signed_server_without_an_admin_token_says_how_to_get_one(tmp_path):
    """No token opens what nobody may see; a 401 would ask for one that does not exist."""
    settings = ServerSettings(error_delay_s=0.0, auth=AuthMode.SIGNED, capability_secret=b"s" * 32)
    server = await Server.start(tmp_path, settings)
    try:
        for path in ("/videos", "/videos/movie", "/debug", "/debug/movie", "/metrics"):
            for headers in ({}, {"Authorization": "Bearer None"}, {"Authorization": "Bearer "}):
                response = await fetch(server, path, **headers)
                assert response.code == 403
                assert "tgsyncd auth token" in json.loads(response.body)["error"]
    finally:
        await server.stop()


@inline
async def test_signed_playback_needs_the_capability(tmp_path):
    """It opens its own video, its URLs inherit it, and the bare routes are shut."""
    secret = b"s" * 32
    server = await Server.start(
        tmp_path,
        ServerSettings(error_delay_s=0.0, auth=AuthMode.SIGNED, capability_secret=secret, admin_token="t0k"),
    )
    try:
        stream = ts_stream()
        await server.add("movie", stream)
        await server.add("other", stream)
        key = capability_for(secret, "movie", server.catalog.video("movie").capability_generation)
        response = await fetch(server, f"/p/{key}/playlist/movie.m3u8")
        urls = [segment.uri for segment in m3u8.loads(response.body.decode()).segments]
        assert urls[0] == f"{server.url}/p/{key}/segment/movie/1/main/segment_0000.ts"
        segment = await fetch(server, urls[0].removeprefix(server.url))
        assert segment.body == stream.segment_bytes(0)
        assert (await fetch(server, f"/p/{key}/play/movie")).code == 200
        wrong = capability_for(b"x" * 32, "movie", 0)
        for path in (
            "/playlist/movie.m3u8",
            SEGMENT,
            "/stream/movie.ts",
            "/play/movie",
            "/playlist/unknown.m3u8",
            f"/p/{key}/playlist/other.m3u8",
            f"/p/{wrong}/playlist/movie.m3u8",
            f"/p/{wrong}/playlist/unknown.m3u8",
        ):
            assert (path, (await fetch(server, path)).code) == (path, 403)
        assert (await fetch(server, "/test-jellyfin.m3u8")).code == 200
        assert (await fetch(server, "/healthz")).code == 200
        for path in ("/videos", "/videos/movie", "/debug", "/debug/movie"):
            assert (await fetch(server, path)).code == 401
            assert (await fetch(server, path, Authorization="Bearer no")).code == 401
            assert (await fetch(server, path, Authorization="Bearer t0k")).code == 200
        listed = json.loads((await fetch(server, "/videos", Authorization="Bearer t0k")).body)
        assert f"/p/{key}/playlist/movie.m3u8" in listed["videos"][0]["playlist_url"]
    finally:
        await server.stop()


# --- the rest ----------------------------------------------------------------------------------------


@inline
async def test_deleting_needs_a_token_in_every_mode(server, tmp_path):
    """Without one configured the answer says what to do."""
    await server.add("movie", ts_stream())
    response = await fetch(server, "/videos/movie", method="DELETE")
    assert response.code == 403
    assert "auth.admin_token_file" in json.loads(response.body)["error"]
    assert server.actions.deleted == []


@inline
async def test_deleting_with_the_token(tmp_path):
    """The video is handed to the program, and is gone."""
    server = await Server.start(tmp_path, ServerSettings(error_delay_s=0.0, admin_token="t0k"))
    try:
        await server.add("movie", ts_stream())
        assert (await fetch(server, "/videos/movie", method="DELETE")).code == 401
        response = await fetch(server, "/videos/movie", method="DELETE", Authorization="Bearer t0k")
        assert (response.code, json.loads(response.body)) == (200, {"deleted": "movie"})
        assert server.actions.deleted == ["movie"]
        assert (await fetch(server, "/playlist/movie.m3u8")).code == 404
        again = await fetch(server, "/videos/movie", method="DELETE", Authorization="Bearer t0k")
        assert again.code == 404
    finally:
        await server.stop()


@inline
async def test_videos_are_listed(server):
    """With what a player is to be given; unfinished ones without."""
    await server.add("movie", ts_stream())
    await server.add("later", ts_stream(), publish=False)
    videos = json.loads((await fetch(server, "/videos")).body)["videos"]
    assert [video["video_id"] for video in videos] == ["later", "movie"]
    assert "playlist_url" not in videos[0]
    assert videos[1]["playlist_url"] == f"{server.url}/playlist/movie.m3u8"
    assert videos[1]["total_segments"] == 3
    one = json.loads((await fetch(server, "/videos/movie")).body)
    assert one["renditions"][0]["container"] == Container.MPEGTS
    debug = json.loads((await fetch(server, "/debug/movie")).body)
    assert debug["renditions"][0]["documents"][0]["offset"] == 0
    assert debug["renditions"][0]["cache"] == {"lost": []}
    assert json.loads((await fetch(server, "/debug")).body) == {"version": "test"}


@inline
async def test_many_videos_are_listed_in_order_without_holding_others_up(server):
    """Read and rendered by the hundred; other requests are answered in between."""
    ids = [f"video-{number:03}" for number in range(230)]
    for video_id in ids:
        await server.catalog.create_video(
            video_id, original_filename="x.mkv", library="", source_path=f"/films/{video_id}.mkv"
        )
    asked = []
    read = server.catalog.videos
    server.catalog.videos = lambda **page: asked.append(page["limit"]) or read(**page)
    response = await fetch(server, "/videos")
    assert [video["video_id"] for video in json.loads(response.body)["videos"]] == ids
    assert asked == [100] * 4


@inline
async def test_health_and_readiness(server):
    """Alive is not ready."""
    assert (await fetch(server, "/healthz")).code == 200
    assert (await fetch(server, "/readyz")).code == 200
    server.actions.reasons.append("the store is not open")
    response = await fetch(server, "/readyz")
    assert response.code == 503
    assert json.loads(response.body)["reasons"] == ["the store is not open"]


@inline
async def test_the_built_in_stream(server):
    """Its playlist names a segment that is there."""
    response = await fetch(server, "/test-jellyfin.m3u8")
    assert response.headers["content-type"] == "application/vnd.apple.mpegurl"
    segment = m3u8.loads(response.body.decode()).segments[0]
    body = await fetch(server, segment.uri.removeprefix(server.url))
    assert body.headers["content-type"] == "video/mp2t"
    assert body.headers["access-control-allow-origin"] == "*"
    assert body.body[:1] == b"\x47"


@inline
async def test_the_page_escapes_what_it_shows(tmp_path, server):
    """A file name is text, never markup."""
    await server.add("movie", ts_stream())
    response = await fetch(server, "/play/movie")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in response.headers["content-security-policy"]
    assert b"<h1>movie</h1>" in response.body
    assert b'data-playlist="../playlist/movie.m3u8"' in response.body
    assert (await fetch(server, "/static/player.js")).code == 200


@inline
async def test_pipelined_requests_are_answered_in_order(server):
    """Three at once on one connection, bodies whole."""
    stream = ts_stream()
    await server.add("movie", stream)
    client = await connect(server.port)
    for order in range(3):
        last = "Connection: close" if order == 2 else "Accept: */*"
        client.send(f"GET /segment/movie/1/main/segment_{order:04d}.ts HTTP/1.1", "Host: localhost", last)
    await client.until_closed()
    rest = client.received
    for order in range(3):
        head, _, rest = rest.partition(b"\r\n\r\n")
        body = stream.segment_bytes(order)
        assert b"Content-Length: %d" % len(body) in head
        assert rest[: len(body)] == body
        rest = rest[len(body) :]
    assert rest == b""
