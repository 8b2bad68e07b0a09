# SPDX-License-Identifier: MIT
"""Documents: taking them in, finding them by file_id, getFile."""

from __future__ import annotations

import os
import re
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.internet.threads import deferToThread

from tests.emulator.faults import MIB
from tests.emulator.file_ids import (
    DOCUMENT,
    FILE_TYPES,
    KINDS,
    PHOTO,
    THUMBNAIL,
    BadFileId,
    access_hash,
    parse_file_id,
)
from tests.emulator.wire import Upload, failure

if TYPE_CHECKING:
    from tests.emulator.calls import Call
    from tests.emulator.values import StoredFile

# The part of TDLib's own table (by extension; the client's Content-Type is ignored) that may matter.
# .ts and .m4s are not in it: such documents come without a mime_type.
_MIME = {
    "mp4": "video/mp4", "mkv": "video/x-matroska", "aac": "audio/x-aac", "mp3": "audio/mpeg",
    "m3u8": "application/vnd.apple.mpegurl", "bin": "application/octet-stream",
    "mts": "model/vnd.mts", "zip": "application/zip", "pdf": "application/pdf", "txt": "text/plain",
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif",
    "json": "application/json", "srt": "application/x-subrip", "gz": "application/gzip",
}  # fmt: skip

# Longest side of the thumbnail that the server makes of a picture.
_THUMBNAIL_SIDE = 320


async def take_media(call: Call, kind: str, value: str, *, thumbnail: str = "") -> StoredFile:
    """
    Return the file that an argument means: an attached file, a file_id, a ``file://`` URI.

    ``kind`` is a key of KINDS. ``value`` is the argument's text: a file sent under the argument's own name
    comes without one.
    """
    name = value.removeprefix("attach://")
    if name in call.arguments.files:
        return _keep(call, kind, call.arguments.files[name], thumbnail)
    if value.startswith("file://"):
        return await _keep_local(call, kind, value, thumbnail)
    if not value:
        raise failure(f"there is no {kind} in the request")
    return _find_sent(call, kind, value)


def _keep(call: Call, kind: str, upload: Upload, thumbnail: str) -> StoredFile:
    if upload.size_bytes == 0:
        raise failure("file must be non-empty")
    name = clean_name(upload.filename)
    mime = _MIME.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
    facts = _facts(upload.path, kind)
    made = _keep_thumbnail(call, kind, upload, mime, thumbnail)
    if made is not None:
        facts["thumbnail"] = made.number
    return call.state.keep_file(
        upload.path, file_type=KINDS[kind], size_bytes=upload.size_bytes, name=name, mime=mime, **facts
    )


def _facts(path: Path, kind: str) -> dict[str, Any]:
    """Return what the server finds out about media: only as much as our tests of pictures and voices need."""
    if kind == "document":
        return {}
    if kind == "voice":
        return {"duration": ogg_duration_s(path)}
    width, height = picture_size(path) or (320, 240)
    return {"width": width, "height": height, "duration": 1}


async def _keep_local(call: Call, kind: str, uri: str, thumbnail: str) -> StoredFile:
    source = Path(unquote(uri.removeprefix("file://")))
    if not call.local or not source.is_file():
        raise failure("wrong file identifier/HTTP URL specified")
    path = call.state.incoming()
    # 20 MB of copying would stop the reactor for tens of milliseconds.
    await deferToThread(shutil.copyfile, source, path)
    upload = Upload(field=kind, filename=source.name, path=path, size_bytes=path.stat().st_size)
    return _keep(call, kind, upload, thumbnail)


def _keep_thumbnail(call: Call, kind: str, upload: Upload, mime: str, value: str) -> StoredFile | None:
    """
    Keep a thumbnail: of a picture the server makes its own and passes over the client's.

    A photo's is its small size, and a photo too.

    Ours has the picture's own bytes: only the size that it tells is smaller.
    """
    given = call.arguments.files.get(value.removeprefix("attach://"))
    if mime in ("image/png", "image/jpeg"):
        source, size = call.state.incoming(), picture_size(upload.path)
        os.link(upload.path, source)
    elif given is not None and given.size_bytes:
        source, size = given.path, picture_size(given.path)
    else:
        return None
    if size is None:
        source.unlink()
        return None
    shrink = min(1.0, _THUMBNAIL_SIDE / max(size))
    return call.state.keep_file(
        source, file_type=PHOTO if kind == "photo" else THUMBNAIL,
        size_bytes=source.stat().st_size, name="thumbnail.jpg",
        mime="image/jpeg", width=round(size[0] * shrink), height=round(size[1] * shrink),
    )  # fmt: skip


def picture_size(path: Path) -> tuple[int, int] | None:
    """Read width and height from the head of a PNG or JPEG file."""
    with path.open("rb") as stream:
        head = stream.read(64 * 1024)
    if head.startswith(b"\x89PNG"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    # Start-of-frame markers C0..CF, but for the tables C4, C8 and CC.
    frame = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08(....)", head, re.DOTALL)
    if head.startswith(b"\xff\xd8") and frame:
        height, width = struct.unpack(">HH", frame[1])
        return width, height
    return None


def ogg_duration_s(path: Path) -> int:
    """Read the length of an Opus stream: the last page's position, at 48 kHz."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 64 * 1024))
        tail = stream.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 14:
        return 0
    return int(struct.unpack_from("<q", tail, page + 6)[0] // 48_000)


def clean_name(name: str) -> str:
    """Drop the folders, as the server does."""
    return re.split(r"[/\\]", name)[-1][:255]


def _find_sent(call: Call, kind: str, file_id: str) -> StoredFile:
    """Return the file of a file_id sent again: another bot's is no file at all."""
    if re.match(r"https?://", file_id):
        raise failure("wrong file identifier/HTTP URL specified")
    try:
        parsed = parse_file_id(file_id)
    except BadFileId as error:
        raise failure(f"wrong remote file identifier specified: {error}") from error
    if parsed.file_type != KINDS[kind]:
        have, want = FILE_TYPES.get(parsed.file_type, "Unknown"), FILE_TYPES[KINDS[kind]]
        raise failure(f"can't use file of type {have} as {want}")
    if parsed.access_hash != access_hash(call.state.key, call.bot.bot_id, parsed.number):
        raise failure("wrong file identifier/HTTP URL specified")
    file = call.state.file(parsed.number)
    if file is None:
        raise failure("wrong file identifier/HTTP URL specified")
    return file


async def get_file(call: Call) -> dict[str, Any]:
    file = _find_for_download(call)
    # The server fetches the whole file before it answers.
    await call.sleep(call.knobs.get_file_s_per_mib * file.size_bytes / MIB)
    folder = "thumbnails" if file.type == THUMBNAIL else "documents"
    path = call.state.make_path(call.bot.bot_id, file, folder=folder, lifetime_s=call.knobs.path_lifetime_s)
    if call.local:
        path = str(_lay_out(call, file, path))
    return call.answers.file(file, path)


def _find_for_download(call: Call) -> StoredFile:
    text = call.arguments.text("file_id")
    if not text:
        raise failure("file_id not specified")
    try:
        parsed = parse_file_id(text)
    except BadFileId as error:
        raise failure("invalid file_id") from error
    file = call.state.file(parsed.number)
    unavailable = failure("wrong file_id or the file is temporarily unavailable")
    if file is None:
        raise unavailable
    if parsed.access_hash != access_hash(call.state.key, call.bot.bot_id, parsed.number):
        raise unavailable
    if file.size_bytes > call.knobs.download_limit_bytes and not call.local:
        raise failure("file is too big")
    if (
        not call.knobs.deleted_files_work
        and file.type == DOCUMENT
        and not call.state.is_referenced(file.number)
    ):
        raise unavailable
    return file


def _lay_out(call: Call, file: StoredFile, path: str) -> Path:
    """
    Put the file where a local server's client reads it, and may remove it.

    A hard link costs nothing and leaves our own copy. The folder is named by the token, as the real
    server's is: a client that logs the path betrays it.
    """
    place = call.state.directory.resolve() / call.bot.token / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        os.link(file.path, place)
    return place
