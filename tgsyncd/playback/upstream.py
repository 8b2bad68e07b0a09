# SPDX-License-Identifier: MIT
"""From a range of a stream to its bytes in the store: which documents hold it, and patience."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet import task
from twisted.logger import Logger

from tgsyncd.errors import DocumentCorrupt, DocumentMissing, StoreUnavailable, VideoGone
from tgsyncd.playback.lines import SeveralLines
from tgsyncd.playback.lost import Lost
from tgsyncd.playback.race import Hedging, Race

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.model import Document, DocumentRef, Rendition
    from tgsyncd.playback.heads import FirstDocuments
    from tgsyncd.ports import CatalogReader, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a reader is held while the store is in trouble."""

    budget_s: float = 100.0
    """Without a byte, before giving up: hls.js gives a segment 120 s (maxLoadTimeMs), first byte included."""
    first_delay_s: float = 0.25
    max_delay_s: float = 8.0
    stall_s: float = 40.0
    """A store that neither delivers nor fails for so long is asked again."""
    lost_s: float = 100.0
    """A reader of what is lost is held so long, without a byte: players give up at the first error."""


class Upstream:
    """Reads streams from the store, each time anew."""

    _log = Logger()

    def __init__(
        self, reader: CatalogReader, store: Store, reactor: IReactorTime, *, patience: Patience
    ) -> None:
        self.first_documents: FirstDocuments | None = None
        """Where documents that were just stored may still be had."""
        self.bytes_read = 0
        """What came from the store."""
        self._reader = reader
        self._store = store
        self._reactor = reactor
        self.patience = patience
        self._lines = store if isinstance(store, SeveralLines) else None
        self.hedging = Hedging(self.count_bots)
        self.lost = Lost(reactor.seconds)
        self._failures = 0

    async def open(self, rendition: Rendition, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """
        Yield the stream's bytes ``[start, stop)`` in order, in chunks of at most 256 KiB.

        Nothing is read ahead of the consumer; ``aclose()`` frees everything. The chunks add up to exactly
        ``stop - start`` bytes, or an error is raised. A store that does not answer for now is asked again,
        from the byte reached, until the patience ends.

        Raises
            StoreUnavailable when the patience ended; DocumentMissing, DocumentCorrupt, StoreRefused at once;
            VideoGone.
        """
        position = start
        for document in self.documents(rendition, start, stop):
            if document.offset > position:
                break
            end = min(stop, document.end)
            part = self._open_part(rendition, document, position - document.offset, end - document.offset)
            async with aclosing(part) as chunks:
                async for chunk in chunks:
                    yield chunk
            position = end
        if position < stop:
            self._check_is_there(rendition)
            msg = f"{rendition.video_id}: no document holds byte {position} of {rendition.name}"
            raise DocumentMissing(msg, hint="run 'tgsyncd check'")

    def open_document(self, rendition: Rendition, document: Document) -> AsyncGenerator[bytes, None]:
        """Yield all bytes of a document: those that its sha256 is of. Raises as ``open``."""
        return self._open_part(rendition, document, 0, document.ref.size_bytes)

    async def _open_part(
        self, rendition: Rendition, document: Document, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        chunks = await self._pick(document, start, stop)
        try:
            async for chunk in chunks:
                yield chunk
        except (DocumentMissing, DocumentCorrupt):
            self._check_is_there(rendition)
            self.lost.note_document(document.ref)
            raise
        finally:
            await chunks.aclose()

    def _check_is_there(self, rendition: Rendition) -> None:
        if not self.documents(rendition, 0, max(rendition.stream_bytes, 1)):
            raise VideoGone(f"{rendition.video_id}: deleted")

    def count_bots(self, ref: DocumentRef) -> int:
        """Return by how many bots the document can be read now."""
        return 1 if self._lines is None else self._lines.bots_for(ref)

    def honours_ranges(self) -> bool:
        """Tell whether parts of a document can be read at the same time without reading it twice."""
        return self._lines is not None and self._lines.honours_ranges()

    def documents(self, rendition: Rendition, start: int, stop: int) -> list[Document]:
        """Return the documents that hold any of these bytes."""
        return list(self._reader.documents_covering(rendition.rendition_id, start, stop))

    async def forget_copies(self, rendition: Rendition) -> None:
        """Read everything from the store from now on: what came did not match."""
        if self.first_documents is not None:
            await self.first_documents.discard(self.documents(rendition, 0, rendition.stream_bytes))

    async def _pick(self, document: Document, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        if self.first_documents is not None:
            chunks = await self.first_documents.open(document, start, stop)
            if chunks is not None:
                return chunks
        return self._read(document, start, stop)

    async def _read(self, document: Document, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Read a part of one document, resuming at the byte reached."""
        deadline: float | None = None
        delay_s = self.patience.first_delay_s
        while start < stop:
            race = Race(self._store, self.hedging, self._reactor, stall_s=self.patience.stall_s)
            chunks = race.read(document.ref, start, stop)
            try:
                async for chunk in chunks:
                    start += len(chunk)
                    self.bytes_read += len(chunk)
                    if self.lost:
                        self.lost.forget_document(document.ref)
                    deadline, delay_s = None, self.patience.first_delay_s
                    self._failures = 0
                    yield chunk
            except StoreUnavailable as error:
                now = self._reactor.seconds()
                deadline = now + self.patience.budget_s if deadline is None else deadline
                wait_s = max(delay_s, error.retry_after_s or 0.0)
                if now + wait_s > deadline:
                    raise
                self._tell(error, wait_s)
                await chunks.aclose()
                await task.deferLater(self._reactor, wait_s)
                delay_s = min(delay_s * 2, self.patience.max_delay_s)
            finally:
                await chunks.aclose()

    def _tell(self, error: StoreUnavailable, wait_s: float) -> None:
        """Say that the store does not answer, the 1st, 2nd, 4th, 8th time: readers ask again and again."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            self._log.warn(
                "the store does not answer, and is asked again in {wait_s:.0f} s: {error}",
                wait_s=wait_s,
                error=error,
            )
