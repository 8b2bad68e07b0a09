# SPDX-License-Identifier: MIT
"""
The caption by which a document explains itself when the catalog is gone. Pure.

It looks like this, and may be read by people::

    tgsyncd 1
    library 0123456789abcdef
    video the-film-2024
    revision 1
    rendition main
    document 12
    size 19900000
    sha256 9f86d081884c7d659a2feaa0c55ad015

Values are percent-encoded where they are not plain, because Telegram removes control characters,
direction marks and surrounding white space from captions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from tgsyncd.model import DocumentLabel, VideoId

FORMAT_VERSION = 1

CAPTION_MAX_CHARACTERS = 1024
"""TDLib's message_caption_length_max; a longer one is refused."""

SHA256_PREFIX_DIGITS = 32
"""128 bits: no two documents of one library share it."""

_MAX_DIGITS = 15
"""Numbers that are longer were not written by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What a document's caption says."""

    format_version: int
    library_id: str
    video_id: VideoId
    revision: int
    rendition: str
    number: int
    size_bytes: int
    sha256_prefix: str
    filename: str = ""

    def describes(self, label: DocumentLabel) -> bool:
        """Tell whether a document with this caption is the one that the label means."""
        return (
            self.library_id == label.library_id
            and self.video_id == label.video_id
            and self.revision == label.revision
            and self.rendition == label.rendition
            and self.number == label.number
            and self.size_bytes == label.size_bytes
            and label.sha256.startswith(self.sha256_prefix)
            and label.filename.endswith(self.filename)
        )


def render_caption(label: DocumentLabel) -> str:
    """
    Return the caption for a document, at most 1024 characters.

    A filename that would make it longer loses its beginning: its ending is what it is for.
    """
    lines = [
        f"tgsyncd {FORMAT_VERSION}",
        f"library {_quoted(label.library_id)}",
        f"video {_quoted(label.video_id)}",
        f"revision {label.revision}",
        f"rendition {_quoted(label.rendition)}",
        f"document {label.number}",
        f"size {label.size_bytes}",
        f"sha256 {label.sha256[:SHA256_PREFIX_DIGITS]}",
    ]
    text = "\n".join(lines)
    room = CAPTION_MAX_CHARACTERS - len(text) - len("\nfile ")
    if filename := _quoted_tail(label.filename, room):
        text += f"\nfile {filename}"
    if len(text) > CAPTION_MAX_CHARACTERS:
        raise ValueError(f"the label of {label.video_id} is too long for a caption")
    return text


_PATTERN = re.compile(
    rf"""
    tgsyncd[ ](?P<format_version>[0-9]{{1,4}})\n
    library[ ](?P<library_id>\S+)\n
    video[ ](?P<video_id>\S+)\n
    revision[ ](?P<revision>[0-9]{{1,{_MAX_DIGITS}}})\n
    rendition[ ](?P<rendition>\S+)\n
    document[ ](?P<number>[0-9]{{1,{_MAX_DIGITS}}})\n
    size[ ](?P<size_bytes>[0-9]{{1,{_MAX_DIGITS}}})\n
    sha256[ ](?P<sha256_prefix>[0-9a-f]{{{SHA256_PREFIX_DIGITS}}})
    (?:\nfile[ ](?P<filename>\S+))?
    (?:\n.*)?
    """,
    re.VERBOSE | re.DOTALL,
)


def parse_caption(text: str | None) -> Caption | None:
    """
    Return what a caption says, or None when it is none of ours.

    Lines behind the known ones are left to later versions of the format.
    """
    if not text:
        return None
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        return None
    return Caption(
        format_version=int(match["format_version"]),
        library_id=unquote(match["library_id"]),
        video_id=VideoId(unquote(match["video_id"])),
        revision=int(match["revision"]),
        rendition=unquote(match["rendition"]),
        number=int(match["number"]),
        size_bytes=int(match["size_bytes"]),
        sha256_prefix=match["sha256_prefix"],
        filename=unquote(match["filename"] or ""),
    )


def document_filename(label: DocumentLabel) -> str:
    """
    Return the file name that the chat shows, such as ``film.r1.main.00012.bin``.

    Always ``.bin``: Telegram guesses a document's kind from the ending, and knows not to think
    about this one.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", f"{label.video_id[:60]}.r{label.revision}")
    rendition = re.sub(r"[^A-Za-z0-9-]", "-", label.rendition)[:30]
    return f"{stem}.{rendition}.{label.number:05d}.bin"


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="surrogatepass") or "%"


def _quoted_tail(value: str, room: int) -> str:
    while value:
        if len(quoted := _quoted(value)) <= room:
            return quoted
        value = value[1:]
    return ""
