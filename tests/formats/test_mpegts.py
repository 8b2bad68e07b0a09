# SPDX-License-Identifier: MIT
"""MPEG-TS parsing against packets made by hand, after ISO/IEC 13818-1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.errors import FfmpegError
from tgsyncd.formats import mpegts


def packet(pid: int, payload: bytes, *, start: bool = True, flags: int | None = None) -> bytes:
    """Return a packet, stuffed in its adaptation field unless it is a table (stuffed behind)."""
    head = bytes([0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF])
    if flags is None:
        return head + b"\x10" + payload.ljust(184, b"\xff")
    length = 183 - len(payload)
    return head + b"\x30" + bytes([length, flags]) + b"\xff" * (length - 1) + payload


def pes(pts: int, body: bytes = b"") -> bytes:
    stamp = bytes(
        [
            0x21 | pts >> 30 << 1,
            pts >> 22 & 0xFF,
            (pts >> 15 & 0x7F) << 1 | 1,
            pts >> 7 & 0xFF,
            (pts & 0x7F) << 1 | 1,
        ]
    )
    return b"\0\0\1\xe0\0\0\x80\x80\x05" + stamp + body


def pmt_section(streams: list[tuple[int, int, bytes]]) -> bytes:
    loop = b"".join(
        bytes([kind, 0xE0 | pid >> 8, pid & 0xFF, 0xF0 | len(info) >> 8, len(info) & 0xFF]) + info
        for kind, pid, info in streams
    )
    length = 9 + len(loop) + 4
    head = bytes([2, 0xB0 | length >> 8, length & 0xFF, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0])
    return head + loop + b"CRC!"


@given(st.integers(0, 2**33 - 1), st.booleans())
def test_any_time_stamp_and_key_flag_is_read_back(pts, is_key):
    """33 bits spread over five bytes, and the random access indicator."""
    data = packet(0x100, pes(pts, b"frame"), flags=0x40 if is_key else 0)
    start = mpegts.parse_pes_start(data, 0)
    assert (start.pts, start.is_key) == (pts, is_key)
    assert data[start.payload :] == b"frame"


def test_a_start_without_a_time_has_none():
    """PES without PTS, and what is no PES at all."""
    without = b"\0\0\1\xe0\0\0\x80\x00\x00frame-frame-frame"
    assert mpegts.parse_pes_start(packet(0x100, without, flags=0), 0).pts is None
    assert mpegts.parse_pes_start(packet(0x100, b"x" * 184), 0).pts is None


@given(st.integers(0, 2**40), st.integers(-(2**31), 2**31))
def test_unwrapping_finds_the_time_nearest_to_the_last_one(last, step):
    """However often the 33 bits have been used up."""
    assert mpegts.unwrap((last + step) % 2**33, last) == last + step


def test_a_program_map_over_several_packets_is_joined():
    """Sixty sound tracks: three packets."""
    descriptor = b"\x0a\x04eng\x00"
    streams = [(0x1B, 0x100, b"")] + [(0x0F, 0x101 + n, descriptor) for n in range(40)]
    section = b"\0" + pmt_section(streams)
    packets = [section[at : at + 184] for at in range(0, len(section), 184)]
    data = b"".join(packet(0x1000, part, start=number == 0) for number, part in enumerate(packets))
    assert mpegts.table_packets(data, 0) == len(packets) == 3
    parsed = mpegts.parse_pmt(mpegts.join_section(data, 0, 3))
    assert [stream.pid for stream in parsed] == [pid for _, pid, _ in streams]
    assert [stream.kind for stream in parsed] == ["video"] + ["audio"] * 40


@pytest.mark.parametrize(
    ("kind", "info", "expected"),
    [
        (0x1B, b"", "video"),
        (0x24, b"", "video"),
        (0x02, b"", "video"),
        (0x0F, b"", "audio"),
        (0x81, b"", "audio"),
        (0x06, b"\x6a\x01\x00", "audio"),
        (0x06, b"\x05\x04Opus", "audio"),
        (0x06, b"\x59\x08engxxxxx", "other"),
        (0x15, b"", "other"),
    ],
)
def test_streams_are_told_apart(kind, info, expected):
    """By stream type, and private ones by their descriptors."""
    (stream,) = mpegts.parse_pmt(pmt_section([(kind, 0x101, info)]))
    assert stream.kind == expected


def test_a_program_table_names_the_first_program():
    """The network's own entry (program 0) is passed over."""
    section = bytes.fromhex("00b011 0001c10000 0000e010 0001f000 00000000")
    assert mpegts.parse_pat(section) == 0x1000


@pytest.mark.parametrize("parse", [mpegts.parse_pat, mpegts.parse_pmt])
@pytest.mark.parametrize("section", [b"", b"\0" * 12])
def test_broken_tables_are_ffmpegs_error(parse, section):
    """Typed, never an IndexError."""
    with pytest.raises(FfmpegError):
        parse(section)


@pytest.mark.parametrize(
    ("kind", "payload", "codec"),
    [
        (0x1B, b"\0\0\0\1\x09\xf0\0\0\0\1\x67\x64\x00\x28\xac", "avc1.640028"),
        (0x1B, b"\0\0\0\1\x09\xf0", ""),
        (0x0F, b"\xff\xf1\x50\x80", "mp4a.40.2"),
        (0x0F, b"\xff\xf1\x10\x80", "mp4a.40.1"),
        (0x03, b"\xff\xfb\x90", "mp4a.40.34"),
        (0x03, b"\xff\xfd\x90", "mp4a.40.33"),
        (0x81, b"\x0b\x77", "ac-3"),
        (0x87, b"\x0b\x77", "ec-3"),
        (0x24, b"", ""),
    ],
)
def test_codec_strings(kind, payload, codec):
    """Out of the first frame's header; unknown is empty."""
    stream = mpegts.TsStream(pid=0x100, stream_type=kind, kind="x")
    assert mpegts.codec_string(stream, payload) == codec
