# SPDX-License-Identifier: MIT
"""A stream as the cache sees it: pieces that are fetched, verified and kept as one. Each is a segment."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.formats import hls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tgsyncd.model import Document, Rendition, Segment
    from tgsyncd.ports import CatalogReader

INIT_ORDER = -1

KEPT_LAYOUTS = 64
"""Some 200 bytes for each of 1,200 segments: 16 MB for as many films at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A byte range of a stream: a segment, the initialization section, or (rarely) what is neither."""

    key: str
    """Names the bytes, not the place: a video ingested again finds what is kept. Empty: is not kept."""
    order: int | None
    """The segment's; ``INIT_ORDER``; None for what is neither."""
    offset: int
    size_bytes: int
    sha256: str = ""
    """Empty where none is known: the initialization section has none in the catalog."""
    duration_s: float = 0.0
    """What it plays; 0 of what is no segment."""

    @property
    def end(self) -> int:
        """The stream offset behind its last byte."""
        return self.offset + self.size_bytes

    @property
    def bytes_per_s(self) -> float:
        """What a player takes of it; 0 of what is no segment."""
        return self.size_bytes / self.duration_s if self.duration_s > 0 else 0.0


class Layout:
    """Where the pieces of one stream are."""

    def __init__(
        self, rendition: Rendition, segments: Sequence[Segment], documents: Sequence[Document]
    ) -> None:
        self.rendition = rendition
        self.stream = f"{rendition.video_id}/{rendition.revision}/{rendition.name}"
        self._pieces = list(_pieces(rendition, segments, documents))
        self._offsets = [piece.offset for piece in self._pieces]
        self._by_order = {piece.order: piece for piece in self._pieces if piece.order is not None}
        sizes = [segment.size_bytes for segment in segments]
        self.mean_bytes = sum(sizes) / max(len(sizes), 1)

    @property
    def pieces(self) -> Sequence[Piece]:
        """All of them, in order."""
        return self._pieces

    def covering(self, start: int, stop: int) -> Iterator[Piece]:
        """Yield the pieces that hold any of the bytes ``[start, stop)``; together they cover all of them."""
        at = max(bisect_right(self._offsets, start) - 1, 0)
        while start < stop:
            if at >= len(self._pieces):
                yield Piece(key="", order=None, offset=start, size_bytes=stop - start)
                return
            piece = self._pieces[at]
            if piece.end > start:
                yield piece
            start, at = max(start, piece.end), at + 1

    def segment(self, order: int) -> Piece | None:
        """Return the piece of this order."""
        return self._by_order.get(order)

    def durations_after(self, order: int) -> Iterator[float]:
        """Yield how long the segments behind this one last, in seconds."""
        while (piece := self._by_order.get(order := order + 1)) is not None:
            yield piece.duration_s

    def filename(self, piece: Piece) -> str:
        """Return the last part of the piece's URL, by which ``cache_metadata`` knows it."""
        if piece.order is None or piece.order < 0:
            return "init.mp4"
        return hls.segment_filename(piece.order, self.rendition.container)


class Layouts:
    """The layouts of the videos that are open, read once each."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._kept: dict[str, Layout] = {}

    def of(self, rendition: Rendition) -> Layout:
        """Return the rendition's layout (0.8 ms for 1,000 segments, when it was not asked for lately)."""
        stream = f"{rendition.video_id}/{rendition.revision}/{rendition.name}"
        layout = self._kept.pop(stream, None)
        if layout is None or layout.rendition != rendition:
            layout = Layout(
                rendition,
                self._reader.segments(rendition.rendition_id),
                self._reader.documents(rendition.rendition_id) if rendition.init_bytes else (),
            )
        self._kept[stream] = layout
        while len(self._kept) > KEPT_LAYOUTS:
            del self._kept[next(iter(self._kept))]
        return layout

    def get(self, stream: str) -> Layout | None:
        """Return the layout of this name, if it was asked for lately."""
        return self._kept.get(stream)


def _pieces(
    rendition: Rendition, segments: Sequence[Segment], documents: Sequence[Document]
) -> Iterator[Piece]:
    position = 0
    if rendition.init_bytes:
        position = rendition.init_bytes
        yield Piece(key=_init_key(position, documents), order=INIT_ORDER, offset=0, size_bytes=position)
    for segment in segments:
        if segment.offset > position:
            yield Piece(key="", order=None, offset=position, size_bytes=segment.offset - position)
        yield Piece(
            key=segment.sha256,
            order=segment.order,
            offset=segment.offset,
            size_bytes=segment.size_bytes,
            sha256=segment.sha256,
            duration_s=segment.duration_s,
        )
        position = segment.end


def _init_key(init_bytes: int, documents: Sequence[Document]) -> str:
    digest = hashlib.sha256(f"initialization section of {init_bytes} bytes".encode())
    for document in documents:
        if document.offset < init_bytes:
            digest.update(f" {document.length} {document.ref.sha256}".encode())
    return digest.hexdigest()
