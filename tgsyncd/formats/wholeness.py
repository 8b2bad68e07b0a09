# SPDX-License-Identifier: MIT
"""Tell by the catalog alone whether a revision is stored as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tgsyncd.model import Document, IngestPlan, Rendition, Segment

__all__ = ["find_gaps", "find_missing_streams"]


def find_missing_streams(plan: IngestPlan | None, renditions: Sequence[Rendition]) -> Iterator[str]:
    """Yield, in words, which streams are not there or have no end."""
    there = {each.name for each in renditions}
    wanted = [each.name for each in plan.renditions] if plan else []
    for name in wanted or ["main"]:
        if name not in there:
            yield f"the stream {name} is missing"
    for rendition in renditions:
        if not rendition.is_complete:
            yield f"the stream {rendition.name} is not complete"


def find_gaps(rendition: Rendition, stored: Sequence[Document | Segment], what: str) -> Iterator[str]:
    """
    Yield, in words, which bytes of a stream no document (or segment: ``what``) has.

    Segments begin behind the initialization section; documents, which hold it, at the first byte.
    """
    end = rendition.init_bytes if what == "segment" else 0
    for each in stored:
        if each.offset != end:
            yield f"the stream {rendition.name} has no {what} for the bytes from {end} to {each.offset}"
        end = each.end
    if rendition.is_complete and end != rendition.stream_bytes:
        yield f"the stream {rendition.name} has {what}s up to byte {end} of {rendition.stream_bytes}"
