# SPDX-License-Identifier: MIT
"""
The binary files that python-telegram-bot's tests use and its source distribution leaves out.

Made here, not copied: the tests care for names, sizes in bytes and pixels, and the first bytes.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# test_voice.py expects exactly this of telegram.ogg.
OGG_BYTES = 9_199
OGG_S = 3

# test_document.py expects exactly this of telegram.png.
PNG_BYTES = 12_948
PNG_SIDE = 300

_HEADS = {
    "telegram.mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "telegram2.mp4": b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp42isom",
    "telegram.mp3": b"ID3\x03\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00",
    "telegram.webp": b"RIFF\x00\x10\x00\x00WEBPVP8 ",
}


def write_missing(data: Path) -> list[str]:
    """Write what is missing in PTB's ``tests/data`` and return the names."""
    made = []
    for name, content in _contents(data).items():
        if not (data / name).exists():
            (data / name).write_bytes(content)
            made.append(name)
    return made


def _contents(data: Path) -> dict[str, bytes]:
    contents = {name: head + bytes(4096) for name, head in _HEADS.items()}
    contents["telegram.ogg"] = render_ogg(OGG_S, OGG_BYTES)
    contents["telegram.png"] = render_png(PNG_SIDE, PNG_BYTES)
    # Any picture and any animation do: those that the distribution has.
    contents["telegram.jpg"] = (data / "image_decrypted.jpg").read_bytes()
    contents["game.gif"] = (data / "telegram.gif").read_bytes()
    return contents


def render_ogg(seconds: int, size_bytes: int) -> bytes:
    """Return something of so many bytes that says, as an Ogg page does, that it ends at ``seconds``."""
    page = b"OggS" + bytes(2) + struct.pack("<q", seconds * 48_000) + bytes(14)
    return page + bytes(size_bytes - len(page))


def render_png(side: int, size_bytes: int) -> bytes:
    """Return a black square as a PNG of exactly so many bytes; a private chunk fills it up."""
    rows = b"".join(b"\x00" + bytes(side * 3) for _ in range(side))
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    tail = _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    filling = size_bytes - len(head) - len(tail) - 12
    return head + _chunk(b"fiLl", bytes(filling)) + tail


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def unpack(archive: Path, into: Path) -> Path:
    """Unpack the source distribution and return its folder."""
    shutil.unpack_archive(archive, into, filter="data")
    (folder,) = [
        path for path in into.iterdir() if path.is_dir() and path.name.startswith("python_telegram_bot")
    ]
    return folder
