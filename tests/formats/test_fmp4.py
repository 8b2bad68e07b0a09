# SPDX-License-Identifier: MIT
"""Fragmented MP4 parsing against boxes made by hand, after ISO/IEC 14496-12."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.errors import FfmpegError
from tgsyncd.formats import fmp4
from tgsyncd.formats.mp4codecs import codec_string

SYNC, NOT_SYNC = 0x0200_0000, 0x0101_0000


def box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full(kind: str, flags: int, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def init(edits: bytes = b"", entry: bytes | None = None, handler: bytes = b"vide") -> bytes:
    avc = box("avc1", bytes(24), struct.pack(">2H", 1920, 1080), bytes(50), box("avcC", b"\1\x64\0\x28"))
    trak = box(
        "trak",
        full("tkhd", 3, bytes(8), u32(1), bytes(68)),
        edits,
        box(
            "mdia",
            full("mdhd", 0, bytes(8), u32(1000, 0), bytes(4)),
            full("hdlr", 0, bytes(4), handler, bytes(13)),
            box("minf", box("stbl", full("stsd", 0, u32(1), entry or avc))),
        ),
    )
    trex = full("trex", 0, u32(1, 1, 40, 0, NOT_SYNC))
    mvhd = full("mvhd", 0, bytes(8), u32(500), bytes(84))
    return box("ftyp", b"iso5") + box("moov", mvhd, trak, box("mvex", trex))


def moof(*runs: bytes, tfhd: bytes | None = None, time: int = 0) -> bytes:
    tfdt = full("tfdt", 0, struct.pack(">q", time), version=1)
    return box("moof", full("mfhd", 0, u32(1)), box("traf", tfhd or full("tfhd", 0, u32(1)), tfdt, *runs))


def parse(data: bytes, initialization: bytes | None = None) -> tuple[fmp4.Run, ...]:
    tracks = {track.track_id: track for track in fmp4.parse_init(initialization or init())}
    return fmp4.parse_moof(data, 0, len(data), tracks)


def test_the_initialization_section_describes_its_tracks():
    """Codec, size, timescale and defaults."""
    (track,) = fmp4.parse_init(init())
    assert (track.track_id, track.kind, track.timescale) == (1, "video", 1000)
    assert (track.codec, track.width, track.height) == ("avc1.640028", 1920, 1080)
    assert (track.default_duration, track.default_flags) == (40, NOT_SYNC)


def test_edit_lists_delay_and_cut_off():
    """An empty edit of 3 s (movie timescale 500), then media from 80 ms on."""
    elst = full("elst", 0, u32(2, 1500, 0xFFFF_FFFF, 0x10000, 0, 80, 0x10000))
    (track,) = fmp4.parse_init(init(box("edts", elst)))
    assert track.delay_s == pytest.approx(3.0)
    assert track.shift_s == pytest.approx(2.92)


def test_a_run_is_measured_with_defaults_of_the_track():
    """Three samples of 40 ms, the first marked as a sync sample by first_sample_flags."""
    (run,) = parse(moof(full("trun", 0x004, u32(3, SYNC)), time=2000))
    assert (run.start_s, run.end_s) == (2.0, pytest.approx(2.12))
    assert run.starts_with_sync
    assert run.syncs == 1


def test_the_fragments_defaults_go_before_the_tracks():
    """tfhd with duration and flags."""
    tfhd = full("tfhd", 0x28, u32(1, 100, SYNC))
    (run,) = parse(moof(full("trun", 0, u32(2)), tfhd=tfhd))
    assert run.end_s == pytest.approx(0.2)
    assert run.syncs == 2


def test_composition_offsets_order_what_is_shown():
    """I P B B with offsets 80, 200, 0, 0: nothing is shown before the key frame."""
    samples = u32(40, SYNC, 80, 40, NOT_SYNC, 160, 40, NOT_SYNC, 40, 40, NOT_SYNC, 40)
    (run,) = parse(moof(full("trun", 0xD00, u32(4), samples)))
    assert run.start_s == pytest.approx(0.08)
    assert run.least_s == pytest.approx(0.08)
    assert run.end_s == pytest.approx(0.24)
    assert not run.leads


def test_a_picture_shown_before_its_key_frame_leads():
    """A negative composition offset behind a key frame: an open group of pictures."""
    samples = struct.pack(">2Ii2Ii", 40, SYNC, 80, 40, NOT_SYNC, -20)
    (run,) = parse(moof(full("trun", 0xD00, u32(2), samples, version=1)))
    assert run.leads
    assert run.least_s == pytest.approx(0.02)


def test_a_start_before_zero_is_negative():
    """ffmpeg writes the priming of AAC so."""
    (run,) = parse(moof(full("trun", 0, u32(1)), time=-21))
    assert run.start_s == pytest.approx(-0.021)


def test_a_run_that_promises_more_samples_than_it_has_is_refused():
    """Four billion of them: no memory is taken."""
    with pytest.raises(FfmpegError):
        parse(moof(full("trun", 0x100, u32(0xFFFF_FFFF))))
    with pytest.raises(FfmpegError):
        parse(moof(full("trun", 0, u32(0xFFFF_FFFF))))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_parsed_or_refused(data):
    """As an initialization section, and as the inside of a fragment."""
    for attempt in (lambda: fmp4.parse_init(data), lambda: parse(box("moof", data))):
        with contextlib.suppress(FfmpegError):
            attempt()


@given(st.integers(0, len(init()) - 1), st.integers(0, 255))
def test_a_changed_byte_in_the_initialization_section_is_no_crash(at, value):
    """Parsed or refused."""
    data = bytearray(init())
    data[at] = value
    with contextlib.suppress(FfmpegError):
        fmp4.parse_init(bytes(data))


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (b"\0\0\0", None),
        (b"\0\0\0\x10moof", (b"moof", 8, 16)),
        (b"\0\0\0\1mdat", None),
        (b"\0\0\0\1mdat" + struct.pack(">Q", 1 << 33), (b"mdat", 16, 1 << 33)),
        (b"\0\0\0\0mdat", (b"mdat", 8, 0)),
    ],
)
def test_box_headers(data, header):
    """Short, 64 bit and open-ended ones."""
    assert fmp4.box_header(data, 0) == header


@pytest.mark.parametrize(
    ("entry", "children", "codec"),
    [
        (b"avc1", {b"avcC": b"\1\x4d\x40\x1f"}, "avc1.4d401f"),
        # RFC 6381's and Apple's usual example of HEVC Main 10, level 5.1, high tier.
        (
            b"hvc1",
            {b"hvcC": b"\1\x22\x20\0\0\0\x90\0\0\0\0\0\x99"},
            "hvc1.2.4.H153.90",
        ),
        (b"hev1", {b"hvcC": b"\1\x01\x60\0\0\0\0\0\0\0\0\0\x5d"}, "hev1.1.6.L93"),
        (b"av01", {b"av1C": b"\x81\x08\x0c\0"}, "av01.0.08M.08"),
        (b"av01", {b"av1C": b"\x81\x0d\xcc\0"}, "av01.0.13H.10"),
        (b"vp09", {b"vpcC": b"\1\0\0\0\x02\x1f\xa2\1"}, "vp09.02.31.10"),
        (
            b"mp4a",
            {
                b"esds": bytes.fromhex(
                    "00000000 0319 000100 0411 4015000000 00000000 00000000 0502 1210 060102"
                )
            },
            "mp4a.40.2",
        ),
        (
            b"mp4a",
            {b"esds": bytes.fromhex("00000000 0315 000100 040d 6b15000000 00000000 00000000 060102")},
            "mp4a.40.34",
        ),
        (b"ac-3", {}, "ac-3"),
        (b"ec-3", {}, "ec-3"),
        (b"Opus", {}, "opus"),
        (b"fLaC", {}, "fLaC"),
        (b"xxxx", {}, ""),
    ],
)
def test_codec_strings(entry, children, codec):
    """RFC 6381 and the bindings of each codec."""
    assert codec_string(entry, children) == codec
