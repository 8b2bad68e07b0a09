# SPDX-License-Identifier: MIT
"""URLs and playlists: what is written can be read, and what is hostile is nothing."""

from __future__ import annotations

import math
import re

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.formats import hls
from tgsyncd.formats.multivariant import render_multivariant_playlist
from tgsyncd.model import Container, Rendition, RenditionKind, Segment

thoroughly = settings(max_examples=10_000, deadline=None)

# --- the grammar of URLs -----------------------------------------------------------------------------

LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"


def texts(alphabet, max_size):
    """Texts that begin with a letter or a digit."""
    return st.text(alphabet, max_size=max_size - 1).map(
        lambda text: "m" + text if text[:1] in "._-" else text
    )


video_ids = texts(LOWER + "._-", 100).map(lambda text: text or "0")
names = texts(LOWER + "-", 32).map(lambda text: text or "main")
revisions = st.integers(1, 999_999_999)
orders = st.integers(0, 999_999_999)
containers = st.sampled_from(Container)
capabilities = st.sampled_from([None, "a" * 32, "-_Az09" + "x" * 26])

targets = st.one_of(
    st.builds(hls.VideoPlaylist, video_id=video_ids),
    st.builds(hls.RenditionPlaylist, video_id=video_ids, revision=revisions, rendition=names),
    st.builds(
        hls.SegmentUrl,
        video_id=video_ids,
        revision=revisions,
        rendition=names,
        order=orders,
        container=containers,
    ),
    st.builds(hls.InitUrl, video_id=video_ids, revision=revisions, rendition=names),
    st.builds(hls.ShortSegmentUrl, video_id=video_ids, order=orders, container=containers),
    st.builds(hls.StreamUrl, video_id=video_ids, container=containers),
    st.builds(hls.PlayPage, video_id=video_ids),
)


@thoroughly
@given(target=targets, capability=capabilities)
def test_a_rendered_path_parses_to_what_it_was(target, capability):
    """Round trip, and nothing in it would need percent-encoding."""
    path = hls.render_path(target, capability)
    assert re.fullmatch(r"[A-Za-z0-9/._-]+", path)
    assert hls.parse_path(path.encode()) == hls.PlaybackUrl(target=target, capability=capability)


HOSTILE = [
    *(b"%2e%2e", b"%2e", b"..", b".", b"%5c", b"\\", b"%252e", b"%2f", b"%00", b"\0"),
    *(b"\xc0\xae", b"\xe0\x80\xae", b"%c0%af", b"\xef\xbc\x8f", b"\xd9\xa1", b"\xff"),
    *(b";a=b", b";", b"?", b"#", b"//", b"/", b" ", b"\n", b"\r\n", b"~", b"A", b"etc"),
    *(b"movie", b"1", b"0", b"-1", b"main", b"segment_0000.ts", b"segment_00000.ts", b"init.mp4"),
    *(b".m3u8", b".ts", b".mp4", b".m4s", b"/playlist/", b"/segment/", b"/stream/", b"/play/"),
    *(b"/p/", b"a" * 32, b"a" * 101),
]
_STARTS = [
    b"",
    b"/playlist/",
    b"/segment/",
    b"/stream/",
    b"/play/",
    b"/p/",
    b"/segment/movie/1/main/",
    b"/p/" + b"a" * 32,
]


@thoroughly
@given(
    start=st.sampled_from(_STARTS),
    parts=st.lists(st.sampled_from(HOSTILE) | st.binary(max_size=4), max_size=8),
)
def test_hostile_paths_never_raise_and_become_typed_ids_or_nothing(start, parts):
    """Whatever is accepted is exactly what we would have written ourselves."""
    path = start + b"".join(parts)
    seen = hls.parse_path(path)
    if isinstance(seen, hls.PlaybackUrl):
        assert hls.render_path(seen.target, seen.capability).encode() == path
        assert hls.is_video_id(seen.target.video_id)
        assert not set(path) & set(b"%\\;?#\0 \n\r~")
    else:
        assert seen is None or isinstance(seen, hls.Malformed)


@thoroughly
@given(
    target=targets, at=st.integers(0, 200), evil=st.sampled_from(HOSTILE) | st.binary(min_size=1, max_size=3)
)
def test_a_damaged_path_is_nothing_or_another_canonical_one(target, at, evil):
    """Something hostile put anywhere into a good path."""
    path = hls.render_path(target).encode()
    damaged = path[:at] + evil + path[at:]
    seen = hls.parse_path(damaged)
    if isinstance(seen, hls.PlaybackUrl):
        assert hls.render_path(seen.target, seen.capability).encode() == damaged


@pytest.mark.parametrize(
    "path",
    [
        b"/segment/movie/0/main/segment_0000.ts",
        b"/segment/movie/01/main/segment_0000.ts",
        b"/segment/movie/1/main/segment_00000.ts",
        b"/segment/movie/1/main/segment_000.ts",
        b"/segment/movie/1/main/segment_0000.TS",
        b"/segment/movie/1/main/segment_0000.ts\n",
        b"/segment/movie/1/main/segment_\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa0.ts",
        b"/segment/movie/init.mp4",
        b"/playlist/.hidden.m3u8",
        b"/playlist/" + b"a" * 101 + b".m3u8",
        b"/playlist/movie.m3u",
        b"/p/" + b"a" * 31 + b"/playlist/movie.m3u8",
        b"/p/" + b"a" * 32 + b"/p/" + b"a" * 32 + b"/playlist/movie.m3u8",
    ],
)
def test_what_only_looks_right_is_malformed(path):
    """One form of each URL, and no other."""
    assert isinstance(hls.parse_path(path), hls.Malformed)


@pytest.mark.parametrize("path", [b"/", b"", b"/videos", b"/playlists/x", b"playlist/movie.m3u8", b"*"])
def test_other_routes_are_none_of_ours(path):
    """They go to whoever knows them."""
    assert hls.parse_path(path) is None


# --- playlists ---------------------------------------------------------------------------------------


def make_rendition(**more):
    fields = {
        "rendition_id": 1,
        "video_id": "movie",
        "revision": 3,
        "name": "main",
        "kind": RenditionKind.MAIN,
        "container": Container.MPEGTS,
        "codecs": "avc1.640028,mp4a.40.2",
        "bandwidth": 5_000_000,
        "average_bandwidth": 4_000_000,
        "width": 1920,
        "height": 1080,
        "frame_rate": 23.976,
        "language": None,
        "title": None,
        "is_default": False,
        "stream_bytes": 1000,
        "init_bytes": 0,
        "duration_s": 10.0,
        "independent_segments": True,
        "is_complete": True,
    }
    return Rendition(**{**fields, **more})


def make_segments(durations_s, discontinuities=()):
    return [
        Segment(
            order=order,
            offset=order * 188,
            size_bytes=188,
            start_s=0.0,
            duration_s=duration_s,
            sha256="0" * 64,
            discontinuity=order in discontinuities,
        )
        for order, duration_s in enumerate(durations_s)
    ]


durations = st.lists(
    st.floats(0.001, 400) | st.sampled_from([0.5, 6.5, 6.4999999, 6.0, 5.999999]),
    min_size=1,
    max_size=8,
)


@thoroughly
@given(
    durations_s=durations,
    discontinuities=st.sets(st.integers(0, 7), max_size=2),
    container=containers,
    independent=st.booleans(),
    capability=capabilities,
)
def test_a_media_playlist_is_read_back_by_m3u8(
    durations_s, discontinuities, container, independent, capability
):
    """URIs, durations, target duration, version, map, discontinuities: as RFC 8216 wants them."""
    rendition = make_rendition(container=container, independent_segments=independent, init_bytes=9)
    text = hls.render_media_playlist(
        rendition,
        make_segments(durations_s, discontinuities),
        base_url="https://media.example/tv",
        capability=capability,
    )
    seen = m3u8.loads(text)
    assert [item.duration for item in seen.segments] == pytest.approx(durations_s, abs=5.1e-7)
    written = [item.duration for item in seen.segments]
    assert all(math.floor(duration + 0.5) <= seen.target_duration for duration in written)
    assert seen.target_duration == max(1, *(math.floor(duration + 0.5) for duration in written))
    assert (seen.playlist_type, seen.is_endlist, seen.media_sequence) == ("vod", True, 0)
    assert seen.is_independent_segments is independent
    for order, item in enumerate(seen.segments):
        assert item.discontinuity is (order in discontinuities and order > 0)
        path = item.uri.removeprefix("https://media.example/tv")
        url = hls.parse_path(path.encode())
        assert url.target == hls.SegmentUrl(
            video_id="movie", revision=3, rendition="main", order=order, container=container
        )
        assert url.capability == capability
    if container is Container.FMP4:
        assert seen.version == 7
        init = hls.parse_path(seen.segment_map[0].uri.removeprefix("https://media.example/tv").encode())
        assert init.target == hls.InitUrl(video_id="movie", revision=3, rendition="main")
    else:
        assert seen.version == 6
        assert seen.segment_map == []


def test_the_playlist_of_the_documentation():
    """Character by character."""
    text = hls.render_media_playlist(
        make_rendition(revision=1), make_segments([6.006, 6.5]), base_url="http://192.168.1.100:8080"
    )
    assert text == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:6\n"
        "#EXT-X-TARGETDURATION:7\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXTINF:6.006000,\n"
        "http://192.168.1.100:8080/segment/movie/1/main/segment_0000.ts\n"
        "#EXTINF:6.500000,\n"
        "http://192.168.1.100:8080/segment/movie/1/main/segment_0001.ts\n"
        "#EXT-X-ENDLIST\n"
    )


def test_what_cannot_be_had_is_a_gap():
    """The tag stands before its own segment only, which keeps its place and its time."""
    text = hls.render_media_playlist(
        make_rendition(revision=1), make_segments([6.0, 6.0, 6.0]), base_url="http://h", gaps={1}
    )
    head, gap, rest = text.partition("#EXT-X-GAP\n")
    assert gap
    assert head.endswith("segment_0000.ts\n")
    assert rest.startswith("#EXTINF:6.000000,\nhttp://h/segment/movie/1/main/segment_0001.ts\n#EXTINF")
    assert [segment.gap_tag for segment in m3u8.loads(text).segments] == [None, True, None]


titles = st.none() | st.text(max_size=12)


@settings(max_examples=1_000, deadline=None)
@given(
    audio=st.lists(
        st.tuples(
            st.sampled_from(["mp4a.40.2", "ac-3", "ec-3", ""]),
            titles,
            st.none() | st.sampled_from(["en", "de"]),
        ),
        min_size=1,
        max_size=5,
    ),
    muxed=st.booleans(),
)
def test_a_multivariant_playlist_is_read_back_by_m3u8(audio, muxed):
    """Each variant names one audio codec at most, and every rendition is reachable."""
    main = make_rendition(codecs="hvc1.1.6.L93.B0" + (",mp4a.40.2" if muxed else ""))
    others = [
        make_rendition(
            name=f"audio-{number}", kind=RenditionKind.AUDIO, codecs=codecs, title=title, language=language,
            bandwidth=200_000, average_bandwidth=150_000,
        )
        for number, (codecs, title, language) in enumerate(audio)
    ]  # fmt: skip
    seen = m3u8.loads(render_multivariant_playlist([main, *others], base_url="http://h"))
    assert seen.is_variant
    assert {item.uri for item in seen.media} == {
        f"http://h/playlist/movie/3/{item.name}.m3u8" for item in others
    }
    for group in {item.group_id for item in seen.media}:
        members = [item for item in seen.media if item.group_id == group]
        assert len({item.name for item in members}) == len(members)
        assert sum(item.default == "YES" for item in members) == 1
    families = {codecs for codecs, _, _ in audio}
    assert len(seen.playlists) == len(families) + muxed
    for variant in seen.playlists:
        assert variant.uri == "http://h/playlist/movie/3/main.m3u8"
        info = variant.stream_info
        assert info.resolution == (1920, 1080)
        assert info.bandwidth == (5_200_000 if info.audio else 5_000_000)
        assert len((info.codecs or "").split(",")) <= 2


@pytest.mark.parametrize("first", ["mp4a.40.2", "Opus", "fLaC"])
def test_all_languages_are_offered_together_when_a_browser_plays_the_default_one(first):
    """
    Groups of one type must have the same members (RFC 8216, 4.3.4.1.1), and mpv plays the variant of the
    highest bandwidth: a group apart for a louder AC-3 track made that the one that was heard.
    """
    main = make_rendition(codecs="av01.0.08M.08")
    english = make_rendition(
        name="audio-1", kind=RenditionKind.AUDIO, codecs=first, language="en", is_default=True,
        bandwidth=128_000, average_bandwidth=120_000,
    )  # fmt: skip
    german = make_rendition(
        name="audio-2", kind=RenditionKind.AUDIO, codecs="ac-3", language="de", is_default=False,
        bandwidth=640_000, average_bandwidth=600_000,
    )  # fmt: skip
    seen = m3u8.loads(render_multivariant_playlist([main, english, german], base_url="http://h"))
    assert [(item.language, item.default) for item in seen.media] == [("en", "YES"), ("de", "NO")]
    assert len({item.group_id for item in seen.media}) == 1
    [variant] = seen.playlists
    assert variant.stream_info.codecs == f"av01.0.08M.08,{first}"
    assert variant.stream_info.bandwidth == main.bandwidth + 640_000


def test_browsers_meet_a_codec_they_play_first():
    """AAC before AC-3, whatever the order of the source."""
    main = make_rendition(codecs="avc1.640028")
    ac3 = make_rendition(name="audio-1", kind=RenditionKind.AUDIO, codecs="ac-3")
    aac = make_rendition(name="audio-2", kind=RenditionKind.AUDIO, codecs="mp4a.40.2")
    text = render_multivariant_playlist([main, ac3, aac], base_url="http://h")
    codecs = [item.stream_info.codecs for item in m3u8.loads(text).playlists]
    assert codecs == ["avc1.640028,mp4a.40.2", "avc1.640028,ac-3"]


def test_a_title_cannot_break_out_of_its_quotes():
    """Quotes and line breaks are taken out."""
    title = 'a"\n#EXT-X-ENDLIST\r\n,URI="http://evil/'
    other = make_rendition(name="audio-1", kind=RenditionKind.AUDIO, codecs="mp4a.40.2", title=title)
    text = render_multivariant_playlist([make_rendition(codecs="avc1.640028"), other], base_url="http://h")
    assert len(text.splitlines()) == 6
    [media] = m3u8.loads(text).media
    assert media.uri == "http://h/playlist/movie/3/audio-1.m3u8"
