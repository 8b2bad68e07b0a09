# SPDX-License-Identifier: MIT
"""Cutters against what ffmpeg really writes, and against what it should never write."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.cut_clips import RECIPES, clip, container, decode_errors, packets
from tgsyncd.errors import FfmpegError
from tgsyncd.ingest.cut import StreamEnd, make_cutter
from tgsyncd.model import Container, CutPoint

# Sound that starts late keeps the muxer from writing anything, key frames or not, until it comes.
WITH_PICTURE = [name for name in RECIPES if "sound." not in name]
CODECS = {
    "h264-closed.ts": "avc1.42c00b,mp4a.40.2",
    "h264-pyramid.ts": "avc1.4d400b,ac-3",
    "h264-one-key.ts": "avc1.42c00b,mp4a.40.34",
    "h264-two-sounds.ts": "avc1.42c00b,ec-3,mp4a.40.2",
    "sound.ts": "mp4a.40.2",
    "h264.mp4": "avc1.4d400b,mp4a.40.2",
    "h264-intra.mp4": "avc1.42c00b,fLaC",
    "hevc.mp4": "hvc1.1.6.L30.90,ec-3",
    "av1.mp4": "av01.0.00M.08,opus",
    "vp9.mp4": "vp09.00.10.08,opus",
}


def cut(data: bytes, kind: Container, size: int = 1 << 20) -> tuple[list[CutPoint], StreamEnd]:
    """Cut ``data`` in pieces of ``size`` and check the promise of ``known`` on the way."""
    cutter = make_cutter(kind)
    cuts: list[CutPoint] = []
    known = 0
    for start in range(0, len(data), size):
        found = cutter.feed(data[start : start + size])
        assert all(point.offset >= known for point in found if point.offset > cutter.head_bytes)
        assert known <= cutter.known <= start + size
        known = cutter.known
        cuts += found
    end = cutter.finish()
    cuts += end.late_cuts
    return cuts, end


def cut_clip(name: str, size: int = 1 << 20) -> tuple[list[CutPoint], StreamEnd]:
    return cut(clip(name).read_bytes(), container(name), size)


@pytest.mark.parametrize("name", WITH_PICTURE)
def test_there_is_a_cut_point_at_each_key_frame_with_its_time(name):
    """As ffprobe counts them. The first is at the head of the stream, whatever comes before the picture."""
    cuts, end = cut_clip(name)
    keys = [start_s for start_s, _, is_key in packets(name, "v") if is_key]
    assert len(cuts) == end.key_frames == len(keys)
    assert [point.pts_s for point in cuts[1:]] == pytest.approx(keys[1:], abs=0.0011)
    assert cuts[0].offset == end.init_bytes


@pytest.mark.parametrize("name", RECIPES)
def test_the_pieces_in_which_the_bytes_come_change_nothing(name):
    """One byte at a time (of the beginning), odd sizes, everything at once."""
    whole = cut_clip(name, 1 << 30)
    assert cut_clip(name, 4099) == whole
    assert cut_clip(name, 188 * 7) == whole


@pytest.mark.parametrize("name", ["h264-closed.ts", "h264.mp4"])
def test_single_bytes_will_do(name):
    """The extreme of the test before; a codec may not be seen in so small pieces, which is all."""
    cuts, end = cut_clip(name, 1)
    expected, expected_end = cut_clip(name)
    assert cuts == expected
    assert (end.end_s, end.media_end) == (expected_end.end_s, expected_end.media_end)


@pytest.mark.parametrize("name", RECIPES)
def test_the_end_is_that_of_what_is_presented_last(name):
    """Within 50 ms of ffprobe's last packet end, over all streams."""
    _, end = cut_clip(name)
    ends = [start + length for kind in "va" for start, length, _ in packets(name, kind)]
    assert end.end_s == pytest.approx(max(ends), abs=0.05)
    assert end.size_bytes == clip(name).stat().st_size


@pytest.mark.parametrize("name", [name for name in RECIPES if "-open" not in name])
def test_what_is_between_cut_points_decodes_alone(name):
    """First, middle and last, behind the initialization section, without a word from ffmpeg."""
    data = clip(name).read_bytes()
    cuts, end = cut_clip(name)
    assert end.independent_segments
    offsets = [*(point.offset for point in cuts), end.media_end]
    for number in {0, len(cuts) // 2, len(cuts) - 1}:
        segment = data[offsets[number] : offsets[number + 1]]
        assert decode_errors(end.init_section + segment) == ""


@pytest.mark.parametrize("name", ["h264-open.ts", "hevc-open.mp4"])
def test_open_groups_of_pictures_are_noticed(name):
    """Pictures that are shown before the key frame they follow need the group before."""
    _, end = cut_clip(name)
    assert not end.independent_segments


@pytest.mark.parametrize(("name", "codecs"), CODECS.items())
def test_codecs_are_named_for_players(name, codecs):
    """RFC 6381 strings, as the multivariant playlist wants them."""
    _, end = cut_clip(name)
    assert end.codecs == codecs


def test_the_initialization_section_gives_the_picture_its_size():
    """Of fragmented MP4."""
    _, end = cut_clip("hevc.mp4")
    assert (end.width, end.height) == (160, 90)


@pytest.mark.parametrize("name", ["sound.ts", "sound.mp4"])
def test_sound_alone_can_be_cut_often(name):
    """At least once a second."""
    cuts, end = cut_clip(name)
    times = [point.pts_s for point in cuts]
    assert max(b - a for a, b in zip(times, [*times[1:], end.end_s], strict=True)) < 1.1
    assert end.video_end_s is None


@pytest.mark.parametrize("name", ["h264-closed.ts", "h264-pyramid.ts", "h264.mp4"])
def test_priming_before_the_picture_is_not_the_start(name):
    """AAC starts some 20 ms before the first picture, which is what players show first."""
    cuts, end = cut_clip(name)
    first_key_s = next(start_s for start_s, _, is_key in packets(name, "v") if is_key)
    assert cuts[0].pts_s == end.start_s == pytest.approx(first_key_s, abs=0.0011)


def test_sound_before_the_picture_belongs_to_the_first_segment():
    """A picture that starts 3 s late: the stream starts with the sound, and its first cut is at 0."""
    cuts, _ = cut_clip("h264-late-picture.ts")
    assert cuts[0].offset == 0
    assert cuts[1].pts_s - cuts[0].pts_s == pytest.approx(4.0, abs=0.1)


def test_the_index_at_the_end_is_in_no_segment():
    """``mfra`` holds offsets of the whole stream: the last segment ends before it."""
    data = clip("h264.mp4").read_bytes()
    _, end = cut_clip("h264.mp4")
    assert data[end.media_end + 4 : end.media_end + 8] == b"mfra"
    assert end.size_bytes == len(data)


@pytest.mark.parametrize("name", ["h264-closed.ts", "h264.mp4"])
def test_a_stream_that_breaks_off_is_an_error(name):
    """Wherever it does so inside a packet or box."""
    data = clip(name).read_bytes()
    for length in (0, 1, 100, 187, 189, 1000, 40_001, len(data) - 1):
        with pytest.raises(FfmpegError):
            cut(data[:length], container(name))


@pytest.mark.parametrize("kind", list(Container))
def test_text_is_no_stream(kind):
    """A message rather than media."""
    with pytest.raises(FfmpegError):
        cut(b"this is no media at all, only text\n" * 1000, kind)


@settings(max_examples=600, deadline=None)
@given(
    name=st.sampled_from(["h264-pyramid.ts", "hevc.mp4"]),
    seed=st.integers(0, 2**32),
    changes=st.integers(1, 40),
)
def test_damaged_bytes_are_cut_or_refused_never_a_crash(name, seed, changes):
    """Bytes changed at random, many of them where the structure is."""
    data = bytearray(clip(name).read_bytes()[:200_000])
    source = random.Random(seed)
    for _ in range(changes):
        data[source.choice([source.randrange(3000), source.randrange(len(data))])] = source.randrange(256)
    with contextlib.suppress(FfmpegError):
        cut(bytes(data), container(name), source.choice([500, 10_000, 1 << 20]))


def test_times_go_on_when_the_33_bits_of_a_time_stamp_are_used_up():
    """A stream whose clock wraps in the middle is as long as before."""
    data = bytearray(clip("h264-closed.ts").read_bytes())
    _, before = cut(bytes(data), Container.MPEGTS)
    shift = 2**33 - 90_000 * 4
    for at in range(0, len(data), 188):
        _add_to_times(data, at, shift)
    cuts, after = cut(bytes(data), Container.MPEGTS)
    assert after.end_s - after.start_s == pytest.approx(before.end_s - before.start_s)
    times = [point.pts_s for point in cuts]
    assert times == sorted(times)


def _add_to_times(data: bytearray, at: int, shift: int) -> None:
    """Add to the PTS of the PES packet that begins in the packet at ``at``, if one does."""
    control = data[at + 3] >> 4 & 3
    pes = at + 4 + (1 + data[at + 4] if control & 2 else 0)
    if not data[at + 1] & 0x40 or data[pes : pes + 3] != b"\0\0\1" or not data[pes + 7] & 0x80:
        return
    b = data[pes + 9 : pes + 14]
    pts = (b[0] >> 1 & 7) << 30 | b[1] << 22 | b[2] >> 1 << 15 | b[3] << 7 | b[4] >> 1
    pts = (pts + shift) % 2**33
    data[pes + 9 : pes + 14] = bytes(
        [
            b[0] & 0xF0 | pts >> 30 << 1 | 1,
            pts >> 22 & 0xFF,
            (pts >> 15 & 0x7F) << 1 | 1,
            pts >> 7 & 0xFF,
            (pts & 0x7F) << 1 | 1,
        ]
    )
