# SPDX-License-Identifier: MIT
"""
Codec strings of MP4 sample entries. Pure.

Sources: RFC 6381 and ISO/IEC 14496-15 annex E (avc1, hvc1), the AV1 and VP9 ISOBMFF bindings (av01, vp09),
ISO/IEC 14496-1 (descriptors of mp4a).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = {
    b"ac-3": "ac-3",
    b"ec-3": "ec-3",
    b"Opus": "opus",
    b"fLaC": "fLaC",
    b".mp3": "mp4a.40.34",
}
# Object type indications of MPEG-1 and MPEG-2 sound in mp4a; HLS names them by their MPEG-4 type.
_MPEG_AUDIO = {0x69, 0x6B}
_AAC = 0x40


def codec_string(entry: bytes, children: Mapping[bytes, bytes]) -> str:
    """
    Return the RFC 6381 codec of a sample entry, empty when unknown.

    ``children`` are the bodies of the boxes in the entry. May raise struct.error or IndexError for
    damaged ones.
    """
    if entry in _PLAIN:
        return _PLAIN[entry]
    if entry in {b"avc1", b"avc3"}:
        return f"{entry.decode()}.{children.get(b'avcC', bytes(4))[1:4].hex()}"
    if entry in {b"hvc1", b"hev1"}:
        return _hevc(entry.decode(), children.get(b"hvcC", b""))
    if entry == b"av01":
        return _av1(children.get(b"av1C", b""))
    if entry == b"vp09":
        return _vp9(children.get(b"vpcC", b""))
    return _mp4a(children.get(b"esds", b"")) if entry == b"mp4a" else ""


def _hevc(name: str, config: bytes) -> str:
    space_tier_profile = config[1]
    compatibility = int.from_bytes(config[2:6], "big")
    constraints = config[6:12].rstrip(b"\0")
    # The 32 compatibility flags are written in reverse bit order (14496-15, E.3).
    reversed_flags = int(f"{compatibility:032b}"[::-1], 2)
    space = ("", "A", "B", "C")[space_tier_profile >> 6]
    tier = "H" if space_tier_profile & 0x20 else "L"
    parts = [
        name,
        f"{space}{space_tier_profile & 0x1F}",
        f"{reversed_flags:X}",
        f"{tier}{config[12]}",
        *(f"{byte:X}" for byte in constraints),
    ]
    return ".".join(parts)


def _av1(config: bytes) -> str:
    profile, level = config[1] >> 5, config[1] & 0x1F
    tier = "H" if config[2] & 0x80 else "M"
    depth = 8
    if config[2] & 0x40:
        depth = 12 if config[2] & 0x20 else 10
    return f"av01.{profile}.{level:02d}{tier}.{depth:02d}"


def _vp9(config: bytes) -> str:
    # A full box: version and flags first.
    profile, level, depth = config[4], config[5], config[6] >> 4
    return f"vp09.{profile:02d}.{level:02d}.{depth:02d}"


def _mp4a(esds: bytes) -> str:
    """Walk ES_Descriptor (3), DecoderConfigDescriptor (4), DecoderSpecificInfo (5)."""
    at = 4
    object_type = 0
    while at < len(esds):
        tag = esds[at]
        at, length = _descriptor_length(esds, at + 1)
        if tag == 3:
            at += 3  # ES_ID and flags; ffmpeg sets none that add a field
        elif tag == 4:
            object_type = esds[at]
            at += 13
        elif tag == 5 and object_type == _AAC:
            return f"mp4a.40.{_audio_object_type(esds[at : at + length])}"
        else:
            at += length
    if object_type in _MPEG_AUDIO:
        return "mp4a.40.34"
    return {_AAC: "mp4a.40.2", 0: ""}.get(object_type, f"mp4a.{object_type:02X}")


def _descriptor_length(data: bytes, at: int) -> tuple[int, int]:
    length = 0
    while data[at] & 0x80:
        length = length << 7 | data[at] & 0x7F
        at += 1
    return at + 1, length << 7 | data[at]


def _audio_object_type(config: bytes) -> int:
    word = struct.unpack(">H", config[:2].ljust(2, b"\0"))[0]
    kind: int = word >> 11
    # 31 says that six more bits follow (14496-3, 1.6.2.1).
    return 32 + (word >> 5 & 0x3F) if kind == 31 else kind
