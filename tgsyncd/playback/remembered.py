# SPDX-License-Identifier: MIT
"""
What was read from the catalog and rendered, kept for the next request.

A player's requests for the segments of a film differ in their last part only. What stands before it is
looked up once, its capability checked once, for as long as nothing is committed to the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.formats import hls
from tgsyncd.playback.answers import etag_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tgsyncd.model import Rendition
    from tgsyncd.ports import CatalogReader

KEPT_FOLDERS = 256
"""Some 1 KB each; as many films as there are connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What all segments of a rendition have in common."""

    rendition: Rendition
    headers: Mapping[str, str]
    """What each answer with a whole segment carries; its ETag and its length are its own."""


class Folders:
    """What URLs of segments mean up to the last slash, capability included, for those who may read there."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._change_number: int | None = None
        self._kept: dict[bytes, Folder] = {}

    def find(self, path: bytes) -> tuple[Folder, int] | None:
        """Return a segment's folder and its order; None when that has to be looked up."""
        above, _, name = path.rpartition(b"/")
        segment = hls.parse_segment_filename(name)
        if segment is None:
            return None
        self._forget_what_changed()
        folder = self._kept.get(above)
        if folder is None or segment[1] is not folder.rendition.container:
            return None
        return folder, segment[0]

    def keep(self, path: bytes, folder: Folder) -> None:
        """
        Remember the folder of this segment, which was looked up since ``find`` was asked for it.

        What was committed while it was looked up is noticed by the next ``find``.
        """
        above = path.rpartition(b"/")[0]
        self._kept.pop(above, None)
        self._kept[above] = folder
        if len(self._kept) > KEPT_FOLDERS:
            del self._kept[next(iter(self._kept))]

    def _forget_what_changed(self) -> None:
        number = self._reader.change_number()
        if number != self._change_number:
            self._change_number = number
            self._kept.clear()


class PlaylistCache:
    """Rendered playlists and their ETags, the least recently used forgotten first; bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[object, tuple[bytes, str]] = {}

    def get(self, key: object) -> tuple[bytes, str] | None:
        """Return the playlist and its ETag, if it is here."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._entries[key] = entry
        return entry

    def put(self, key: object, body: bytes) -> tuple[bytes, str]:
        """Keep a playlist; return it and its ETag."""
        entry = (body, etag_of(body))
        self._entries[key] = entry
        self._bytes += len(body)
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            oldest = next(iter(self._entries))
            self._bytes -= len(self._entries.pop(oldest)[0])
        return entry
