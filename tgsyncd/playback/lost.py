# SPDX-License-Identifier: MIT
"""
PURE: what the store is sure not to have, as this process found out.

A playlist marks the segments in it (``EXT-X-GAP``), so that the next viewer passes over them. A mark names
the document, not the place: one that was stored anew is not marked. It is forgotten when bytes of it come
after all, and after an hour, so that the store is asked again now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tgsyncd.model import Document, DocumentRef, Segment

LOST_KEPT_S = 3600.0

MAX_MARKS = 10_000
"""Some 200 bytes each."""


class Lost:
    """Marks of documents, and of segments whose bytes are there and wrong."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._marks: dict[object, float] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def note_document(self, ref: DocumentRef) -> None:
        """Note that the store does not have the document, or not as it was stored."""
        self._note(_place(ref))

    def note_segment(self, sha256: str) -> None:
        """Note that the segment cannot be had."""
        self._note(sha256)

    def forget_document(self, ref: DocumentRef) -> None:
        """Note that bytes of it came."""
        self._marks.pop(_place(ref), None)

    def forget_segment(self, sha256: str) -> None:
        """Note that it came."""
        self._marks.pop(sha256, None)

    def orders(
        self, segments: Sequence[Segment], documents: Sequence[Document], is_here: Callable[[str], bool]
    ) -> frozenset[int]:
        """
        Return which of a stream's segments a viewer should pass over.

        ``is_here`` tells whether a segment (by its sha256) is kept locally. Where nothing at all is left, no
        segment is named: a player that is told to pass over everything plays nothing and does not say why.
        """
        lost = [document for document in documents if self._is_marked(_place(document.ref))]
        found = frozenset(
            segment.order
            for segment in segments
            if (self._is_marked(segment.sha256) or any(_overlap(segment, document) for document in lost))
            and not is_here(segment.sha256)
        )
        return found if len(found) < len(segments) else frozenset()

    def _note(self, key: object) -> None:
        self._marks.pop(key, None)
        self._marks[key] = self._now_s() + LOST_KEPT_S
        while len(self._marks) > MAX_MARKS:
            del self._marks[next(iter(self._marks))]

    def _is_marked(self, key: object) -> bool:
        until_s = self._marks.get(key)
        if until_s is not None and until_s <= self._now_s():
            del self._marks[key]
            return False
        return until_s is not None


def _place(ref: DocumentRef) -> object:
    return ref.chat_id, ref.message_id, ref.file_unique_id


def _overlap(segment: Segment, document: Document) -> bool:
    return document.offset < segment.end and document.end > segment.offset
