# SPDX-License-Identifier: MIT
"""
file_id and file_unique_id as TDLib writes them: run-length encoded zeros in base64url. PURE.

A file_id carries the type, a file reference that changes from answer to answer, the file's number and
an access hash that only one bot's account knows: this is what binds a file_id to its bot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

# TDLib's FileType numbers and what the types are called in error messages.
FILE_TYPES = {
    0: "Thumbnail", 2: "Photo", 3: "VoiceNote", 4: "Video", 5: "Document", 8: "Sticker", 9: "Audio",
    10: "Animation", 13: "VideoNote",
}  # fmt: skip
DOCUMENT = 5
THUMBNAIL = 0
PHOTO = 2

# The kinds of media that messages carry, by the name of their key in a message.
KINDS = {
    "document": DOCUMENT, "photo": PHOTO, "video": 4, "audio": 9, "voice": 3, "animation": 10,
}  # fmt: skip
# The folder in which getFile finds each type.
FOLDERS = {
    THUMBNAIL: "thumbnails", PHOTO: "photos", 3: "voice", 4: "videos", DOCUMENT: "documents", 9: "music",
    10: "animations",
}  # fmt: skip

_HAS_REFERENCE = 1 << 25
_DC = 2
# TDLib's version of the serialized location, and the version of the persistent id itself.
_VERSION = bytes((0x30, 0x04))
_REFERENCE_BYTES = 29


class BadFileId(ValueError):
    """The string is no file_id; ``str()`` is TDLib's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileId:
    file_type: int
    number: int
    access_hash: bytes


def access_hash(secret: bytes, bot_id: int, number: int) -> bytes:
    return hmac.digest(secret, f"{bot_id}/{number}".encode(), hashlib.sha256)[:8]


def render_file_id(file_id: FileId, reference: bytes) -> str:
    """Serialize; ``reference`` (29 bytes) differs from answer to answer, as Telegram's does."""
    assert len(reference) == _REFERENCE_BYTES
    head = struct.pack("<iiB", file_id.file_type | _HAS_REFERENCE, _DC, _REFERENCE_BYTES)
    # TL strings are padded to a multiple of four, their length byte included: 1 + 29 + 2.
    body = head + reference + b"\0\0" + struct.pack("<q", file_id.number) + file_id.access_hash
    return _base64(_encode_zeros(body) + _VERSION)


def parse_file_id(text: str) -> FileId:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadFileId("Wrong string length") from error
    if len(raw) < 4 or raw[-1] != _VERSION[1]:
        raise BadFileId("can't unserialize it. Wrong last symbol")
    body = _decode_zeros(raw[:-2])
    if len(body) != 9 + _REFERENCE_BYTES + 2 + 16:
        raise BadFileId("can't unserialize it. Wrong remote file identifier")
    (type_and_flags,) = struct.unpack_from("<i", body)
    (number,) = struct.unpack_from("<q", body, len(body) - 16)
    return FileId(file_type=type_and_flags & ~_HAS_REFERENCE, number=number, access_hash=body[-8:])


def render_unique_id(number: int, *, file_type: int = DOCUMENT) -> str:
    kind = 1 if file_type in (THUMBNAIL, PHOTO) else 2
    return _base64(_encode_zeros(struct.pack("<iq", kind, number)))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _encode_zeros(raw: bytes) -> bytes:
    out = bytearray()
    run = 0
    for byte in raw:
        if byte == 0 and run < 250:
            run += 1
            continue
        if run:
            out += bytes((0, run))
            run = 0
        if byte == 0:
            run = 1
        else:
            out.append(byte)
    if run:
        out += bytes((0, run))
    return bytes(out)


def _decode_zeros(raw: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(raw):
        if raw[at] == 0 and at + 1 < len(raw):
            out += bytes(raw[at + 1])
            at += 2
        else:
            out.append(raw[at])
            at += 1
    return bytes(out)
