# SPDX-License-Identifier: MIT
"""
MPEG-TS as ffmpeg writes it: tables, PES starts, codec strings. Pure: bytes in, values out.

Sources: ISO/IEC 13818-1 (packets 2.4.3.2, PES 2.4.3.6, PAT 2.4.4.3, PMT 2.4.4.8), ETSI EN 300 468
(descriptors of private streams), RFC 6381 (codec strings).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.errors import FfmpegError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKET_BYTES = 188
SYNC_BYTE = 0x47
PTS_HZ = 90_000
PTS_BITS = 33
PAT_PID = 0

VIDEO_TYPES = frozenset({0x01, 0x02, 0x10, 0x1B, 0x24, 0xD1, 0xEA})
AUDIO_TYPES = frozenset({0x03, 0x04, 0x0F, 0x11, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x8A})
PRIVATE_TYPE = 0x06
# Descriptor tags (EN 300 468) and registrations that make a private stream sound.
AUDIO_DESCRIPTORS = frozenset({0x6A, 0x7A, 0x7B, 0x7C})
AUDIO_REGISTRATIONS = frozenset({b"AC-3", b"EAC3", b"Opus", b"DTS1", b"DTS2", b"DTS3", b"BSSD"})
REGISTRATION = 0x05

_CODECS: dict[int | bytes, str] = {
    0x11: "mp4a.40.2",
    0x81: "ac-3",
    0x87: "ec-3",
    b"AC-3": "ac-3",
    b"EAC3": "ec-3",
    b"Opus": "opus",
}
_SPS = re.compile(rb"\x00\x00\x01[\x07\x27\x47\x67](...)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TsStream:
    """One elementary stream of a programme."""

    pid: int
    stream_type: int
    kind: str
    """``video``, ``audio`` or ``other``."""
    registration: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PesStart:
    """The first packet of a PES packet."""

    pts: int | None
    """33 bits, in 1/90000 s; None where the packet carries none."""
    is_key: bool
    """The random_access_indicator: ffmpeg sets it on key frames."""
    payload: int
    """Position of the elementary stream's first byte behind the PES header."""


def not_mpegts(what: str) -> FfmpegError:
    """Return the error for bytes that ffmpeg should not have written."""
    return FfmpegError(
        f"What ffmpeg wrote is no whole MPEG-TS stream: {what}.",
        hint="the source file may be damaged; see ffmpeg's own messages",
    )


def payload_start(data: bytes, at: int) -> int:
    """Return where the payload of the packet at ``at`` begins (its end when it has none)."""
    control = data[at + 3] >> 4 & 3
    if not control & 1:
        return at + PACKET_BYTES
    return at + 4 + (1 + data[at + 4] if control & 2 else 0)


def parse_pes_start(data: bytes, at: int) -> PesStart:
    """Parse the packet at ``at``, which has the payload_unit_start_indicator."""
    flagged = data[at + 3] & 0x20 and data[at + 4]
    is_key = bool(flagged and data[at + 5] & 0x40)
    start = payload_start(data, at)
    # 9 fixed bytes, then 5 of PTS; ffmpeg never lets a PES header cross a packet.
    if start + 14 > at + PACKET_BYTES or data[start : start + 3] != b"\x00\x00\x01":
        return PesStart(pts=None, is_key=is_key, payload=at + PACKET_BYTES)
    payload = min(start + 9 + data[start + 8], at + PACKET_BYTES)
    if not data[start + 7] & 0x80:
        return PesStart(pts=None, is_key=is_key, payload=payload)
    pts = (
        (data[start + 9] >> 1 & 7) << 30
        | data[start + 10] << 22
        | data[start + 11] >> 1 << 15
        | data[start + 12] << 7
        | data[start + 13] >> 1
    )
    return PesStart(pts=pts, is_key=is_key, payload=payload)


def unwrap(pts: int, near: int | None) -> int:
    """Return the time, counted without end, that is ``pts`` modulo 2**33 and nearest to ``near``."""
    if near is None:
        return pts
    period = 1 << PTS_BITS
    ahead = (pts - near) % period
    return near + (ahead - period if ahead >= period >> 1 else ahead)


def table_packets(data: bytes, at: int) -> int:
    """Return over how many packets the section that begins in the packet at ``at`` goes."""
    start = payload_start(data, at)
    section = start + 1 + data[start] if start < at + PACKET_BYTES else at + PACKET_BYTES
    if section + 3 > at + PACKET_BYTES:
        raise not_mpegts("a table's header is broken")
    length = (data[section + 1] & 0x0F) << 8 | data[section + 2]
    beyond = section + 3 + length - (at + PACKET_BYTES)
    return 1 + max(0, -(-beyond // (PACKET_BYTES - 4)))


def join_section(data: bytes, at: int, packets: int) -> bytes:
    """Return the section's bytes, from table_id on, out of ``packets`` packets that follow one another."""
    first = payload_start(data, at)
    parts = [data[first + 1 + data[first] : at + PACKET_BYTES]]
    for number in range(1, packets):
        packet = at + number * PACKET_BYTES
        parts.append(data[payload_start(data, packet) : packet + PACKET_BYTES])
    section = b"".join(parts)
    return section[: 3 + ((section[1] & 0x0F) << 8 | section[2])]


def parse_pat(section: bytes) -> int:
    """Return the PID of the first programme's map."""
    for at in range(8, len(section) - 4 - 3, 4):
        if section[at] or section[at + 1]:
            return (section[at + 2] & 0x1F) << 8 | section[at + 3]
    raise not_mpegts("its table of programmes is empty")


def parse_pmt(section: bytes) -> tuple[TsStream, ...]:
    """Return the streams of a programme map, in its order."""
    if len(section) < 16:
        raise not_mpegts("its programme map is broken")
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    streams = []
    while at + 5 <= len(section) - 4:
        info = (section[at + 3] & 0x0F) << 8 | section[at + 4]
        pid = (section[at + 1] & 0x1F) << 8 | section[at + 2]
        streams.append(_stream(pid, section[at], section[at + 5 : at + 5 + info]))
        at += 5 + info
    return tuple(streams)


def _stream(pid: int, stream_type: int, descriptors: bytes) -> TsStream:
    registration, kind = b"", "other"
    if stream_type in VIDEO_TYPES:
        kind = "video"
    elif stream_type in AUDIO_TYPES:
        kind = "audio"
    for tag, body in _descriptors(descriptors):
        if tag == REGISTRATION:
            registration = body[:4]
        sounds = tag in AUDIO_DESCRIPTORS or body[:4] in AUDIO_REGISTRATIONS
        if stream_type == PRIVATE_TYPE and sounds:
            kind = "audio"
    return TsStream(pid=pid, stream_type=stream_type, kind=kind, registration=registration)


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(data):
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def codec_string(stream: TsStream, payload: bytes) -> str:
    """
    Return the RFC 6381 codec of a stream, empty when unknown.

    ``payload`` is the beginning of its first frame: of H.264 up to the SPS, else a frame header.
    """
    match stream.stream_type:
        case 0x1B:
            found = _SPS.search(payload)
            codec = f"avc1.{found[1].hex()}" if found else ""
        case 0x0F if len(payload) > 2:
            # ADTS: the profile is the audio object type less one.
            codec = f"mp4a.40.{(payload[2] >> 6) + 1}"
        case 0x03 | 0x04 if len(payload) > 1:
            # Layer III is object type 34, layer II is 33 (ISO/IEC 14496-3, table 1.1).
            codec = "mp4a.40.34" if payload[1] >> 1 & 3 == 1 else "mp4a.40.33"
        case _:
            codec = _CODECS.get(stream.stream_type) or _CODECS.get(stream.registration, "")
    return codec


def elementary_bytes(data: bytes, pid: int, first: PesStart, at: int, packets: int) -> bytes:
    """Return what the next ``packets`` packets hold of the frame that begins in the packet at ``at``."""
    stop = min(len(data) // PACKET_BYTES * PACKET_BYTES, at + packets * PACKET_BYTES)
    rest = (
        data[payload_start(data, packet) : packet + PACKET_BYTES]
        for packet in range(at + PACKET_BYTES, stop, PACKET_BYTES)
        if (data[packet + 1] & 0x1F) << 8 | data[packet + 2] == pid
    )
    return b"".join((data[first.payload : at + PACKET_BYTES], *rest))
