# SPDX-License-Identifier: MIT
"""
Streams through the cache: memory, then disk, then one fetch for everybody who asks.

Everything is kept and verified by piece, which is a segment. What is read is taken from wherever it is at
that moment: a slow reader holds one chunk, not the segment, and goes on from disk when the memory was needed
for something else.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tgsyncd.errors import StoreUnavailable
from tgsyncd.playback.ahead import ReadAhead
from tgsyncd.playback.bodies import verified
from tgsyncd.playback.counters import Counters
from tgsyncd.playback.fetches import Fetches
from tgsyncd.playback.heads import FirstDocuments, Heads
from tgsyncd.playback.holdings import report_holdings, report_stream_holdings
from tgsyncd.playback.memory import Memory
from tgsyncd.playback.pieces import Layouts
from tgsyncd.playback.policy import PROBE_S, is_beyond_head
from tgsyncd.playback.relay import Relays
from tgsyncd.playback.sessions import Sessions
from tgsyncd.playback.shelf import Shelf, by_playheads
from tgsyncd.playback.uses import Uses

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from tgsyncd.model import DocumentRef, Rendition
    from tgsyncd.playback.flight import Flight
    from tgsyncd.playback.pieces import Layout, Piece
    from tgsyncd.playback.sessions import Session
    from tgsyncd.playback.shelf import InThread, OpenFile
    from tgsyncd.playback.spans import FileSpan
    from tgsyncd.playback.upstream import Upstream
    from tgsyncd.playback.uses import RecordUses
    from tgsyncd.ports import CatalogReader, Clock

TICK_S = 60.0
"""So often old segments leave the memory and counters go to the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How much is kept, where, and for how long."""

    folder: Path
    memory_bytes: int = 100_000_000
    disk_bytes: int = 2_000_000_000
    heads_bytes: int = 5_000_000_000
    memory_ttl_s: float = 300.0
    """A segment leaves the memory so long after its last use."""
    ahead_s: float = 18.0
    """So much film is read ahead of each viewer: three segments of 6 s."""


class SegmentCache:
    """Serves streams, and fetches from the store what is not here."""

    _log = Logger()

    def __init__(
        self,
        settings: CacheSettings,
        *,
        reader: CatalogReader,
        upstream: Upstream,
        reactor: IReactorTime,
        clock: Clock,
        in_thread: InThread,
        ask_ahead: Callable[[DocumentRef], None],
        record_uses: RecordUses,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._reactor = reactor
        self._clock = clock
        self._counters = Counters()
        self._uses = Uses(record_uses)
        self._layouts = Layouts(reader)
        self._sessions = Sessions()
        self._memory = Memory(settings.memory_bytes)
        self._disk = Shelf(
            settings.folder / "segments",
            limit_bytes=settings.disk_bytes,
            clock=clock,
            in_thread=in_thread,
            choose_victims=by_playheads(self._playheads),
        )
        self._heads = Heads(
            settings.folder / "heads", limit_bytes=settings.heads_bytes, clock=clock, in_thread=in_thread
        )
        self._first_documents = FirstDocuments(
            settings.folder / "first", limit_bytes=settings.heads_bytes, clock=clock, in_thread=in_thread
        )
        upstream.first_documents = self._first_documents
        self._relays = Relays(reactor)
        self._fetches = Fetches(
            upstream=upstream,
            memory=self._memory,
            disk=self._disk,
            heads=self._heads,
            counters=self._counters,
            in_thread=in_thread,
            now_s=reactor.seconds,
            call_later=reactor.callLater,
        )
        self._ahead = ReadAhead(
            sessions=self._sessions,
            layouts=self._layouts,
            fetches=self._fetches,
            memory=self._memory,
            disk=self._disk,
            upstream=upstream,
            reactor=reactor,
            ahead_s=settings.ahead_s,
            ask_ahead=ask_ahead,
        )
        self._fetches.on_progress = self._ahead.plan_soon
        self._fetches.is_wanted = self._ahead.is_wanted
        self._tick: IDelayedCall | None = None

    async def open(
        self, rendition: Rendition, start: int, stop: int, viewer: str, *, spans: bool = False
    ) -> AsyncGenerator[bytes | FileSpan, None]:
        """Yield the stream's bytes ``[start, stop)``: ``Engine.open`` and ``Engine.open_spans``."""
        layout = self._layouts.of(rendition)
        self._tick_later()
        self._memory.begin_sending(self._playheads)
        try:
            for piece in layout.covering(start, stop):
                first, last = max(start - piece.offset, 0), min(stop - piece.offset, piece.size_bytes)
                session = self._note(layout, piece, viewer)
                async with aclosing(self._serve(layout, piece, session, first, last, spans=spans)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                        self._counters.bytes_served += len(chunk)
        finally:
            self._memory.end_sending()

    def at_hand(
        self, rendition: Rendition, order: int, viewer: str
    ) -> tuple[Piece, AsyncGenerator[FileSpan, None]] | None:
        """Read a segment, if it lies verified in an open file: ``Engine.at_hand``."""
        layout = self._layouts.of(rendition)
        piece = layout.segment(order)
        file = self._disk.at_hand(piece.key) if piece is not None and piece.key else None
        if piece is None or file is None:
            return None
        self._tick_later()
        self._note(layout, piece, viewer)
        self._note_taken_from_disk(piece, piece.size_bytes)
        self._counters.hits += 1
        return piece, self._send_whole(file, piece)

    async def pin(self, rendition: Rendition) -> None:
        """Have the beginning of a stream pinned. Raises what the store raises."""
        layout = self._layouts.of(rendition)
        for order in (-1, 0, 1):
            piece = layout.segment(order)
            if piece is not None and self._heads.length(piece):
                await self._pin(layout, piece)
        await self._upstream.forget_copies(rendition)

    async def _pin(self, layout: Layout, piece: Piece) -> None:
        file = await self._heads.open(piece)
        if file is not None:
            file.close()
            return
        flight = self._memory.get(piece.key)
        if flight is None:
            flight = self._begin(layout, piece)
            if flight is None:
                return  # no room in memory now; it is pinned when it is first played
            flight.is_for_head = True
        async with aclosing(flight.follow(0, 0, piece.size_bytes)) as chunks:
            async for _ in chunks:
                pass
        await self._heads.keep(flight)

    async def keep_first(self, path: Path, number: int, sha256: str) -> None:
        """Copy a document that is being stored, if its stream's head will be cut off it."""
        await self._first_documents.keep(path, number, sha256)

    def is_here(self, key: str) -> bool:
        """Tell whether a segment is kept whole."""
        flight = self._memory.get(key)
        return key in self._disk or (flight is not None and flight.is_landed)

    def count_waiting(self) -> int:
        """Return how many readers wait for a segment that is still on its way."""
        under_way = [each for each in self._memory if not (each.is_landed or each.is_for_head)]
        return sum(flight.readers for flight in under_way) + len(self._relays)

    async def clean(self, used_before_s: float) -> tuple[int, int]:
        """Remove segments from disk that were last used before this; return how many, and their bytes."""
        await self._disk.ready()
        names = self._disk.used_before(used_before_s)
        return len(names), await self._disk.discard(names)

    async def close(self) -> None:
        """Give up what is under way, and tell the catalog what was counted."""
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        self._ahead.close()
        self._fetches.on_progress = lambda: None
        self._fetches.close()
        for shelf in (self._disk, self._heads.shelf):
            shelf.close()
        await self._uses.flush()

    def report(self) -> dict[str, object]:
        """Return status and statistics, for JSON."""
        self._counters.bytes_fetched = self._upstream.bytes_read
        self._counters.hedges = self._upstream.hedging.hedges
        self._counters.hedges_won = self._upstream.hedging.hedges_won
        return {
            **self._counters.report(),
            "viewers": len(self._sessions.playing(self._reactor.seconds())),
            **report_holdings(self._memory, self._disk, self._heads),
        }

    def report_stream(self, rendition: Rendition) -> dict[str, object]:
        """Return what is kept of a stream, for JSON."""
        return report_stream_holdings(
            self._layouts.of(rendition),
            memory=self._memory,
            disk=self._disk,
            heads=self._heads,
            playheads=self._playheads(),
        )

    # --- serving -----------------------------------------------------------------------------------

    async def _serve(
        self, layout: Layout, piece: Piece, session: Session | None, position: int, stop: int, *, spans: bool
    ) -> AsyncGenerator[bytes | FileSpan, None]:
        """Yield a part of a piece, from one source after the other."""
        start, since_s, may_join_another = position, self._reactor.seconds(), True
        while position < stop:
            if is_beyond_head(piece.order, start, position):
                await self._see_whether_it_plays(piece, session)
            chunks = await self._pick(layout, piece, start, position, stop, spans=spans)
            try:
                async for chunk in chunks:
                    position += len(chunk)
                    yield chunk
                    since_s, may_join_another = self._reactor.seconds(), True
            except StoreUnavailable:
                # The fetch had tried for long before this reader joined it; he has his own patience.
                waited_s = self._reactor.seconds() - since_s
                if not may_join_another or waited_s >= self._upstream.patience.budget_s:
                    raise
                may_join_another = False
            finally:
                await chunks.aclose()

    async def _pick(
        self, layout: Layout, piece: Piece, start: int, position: int, stop: int, *, spans: bool
    ) -> AsyncGenerator[bytes | FileSpan, None]:
        """
        Return the nearest source of the bytes ``[position, stop)``; it may end before ``stop``.

        The reader has taken ``[start, position)`` already.
        """
        counters, is_first = self._counters, position == start
        if not piece.key:
            return self._upstream.open(layout.rendition, piece.offset + position, piece.offset + stop)
        flight = self._memory.get(piece.key)
        if flight is not None:
            counters.hits += is_first and flight.is_landed
            counters.joined += is_first and not flight.is_landed
            if spans and flight.is_spilled:
                # What the kernel sends from the page cache is not copied, as what is in memory would be.
                local = await self._open_local(piece, position, stop, spans=spans)
                if local is not None:
                    self._note_taken_from_disk(piece, stop)
                    return local
            return flight.follow(start, position, stop)
        local = await self._open_local(piece, position, stop, spans=spans)
        if local is not None:
            counters.hits += is_first
            return local
        # Somebody else may have begun while the disk was looked at.
        flight = self._memory.get(piece.key)
        counters.joined += is_first and flight is not None
        counters.misses += is_first and flight is None
        flight = flight or self._begin(layout, piece, origin=position)
        if flight is not None:
            return flight.follow(start, position, stop)
        chunks, is_joined = self._relays.follow(
            piece.key, position, stop, lambda: self._pass_by(layout, piece, position, stop)
        )
        counters.passed_by += not is_joined
        return chunks

    async def _open_local(
        self, piece: Piece, position: int, stop: int, *, spans: bool
    ) -> AsyncGenerator[bytes | FileSpan, None] | None:
        await self._disk.ready()
        if piece.key in self._disk:
            file = await self._disk.open(piece.key, piece.size_bytes, sha256=piece.sha256)
            if file is not None:
                return file.span(position, stop) if spans else file.read(position, stop)
        if position < self._heads.length(piece):
            file = await self._heads.open(piece)
            if file is not None:
                return file.read(position, min(stop, self._heads.length(piece)))
        return None

    async def _send_whole(self, file: OpenFile, piece: Piece) -> AsyncGenerator[FileSpan, None]:
        try:
            yield file.as_span(0, piece.size_bytes)
            self._counters.bytes_served += piece.size_bytes
        finally:
            file.close()

    def _note_taken_from_disk(self, piece: Piece, stop: int) -> None:
        """Count what is in memory too as read there up to this offset."""
        flight = self._memory.get(piece.key)
        if flight is not None:
            flight.is_read = flight.is_read or stop == piece.size_bytes
            flight.last_used_s = self._reactor.seconds()

    async def _pass_by(
        self, layout: Layout, piece: Piece, position: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield bytes as the store sends them: the memory has no room for the piece."""
        chunks = self._upstream.open(layout.rendition, piece.offset + position, piece.offset + stop)
        if position == 0 and stop == piece.size_bytes and piece.sha256:
            chunks = verified(chunks, size_bytes=stop, sha256=piece.sha256)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _begin(self, layout: Layout, piece: Piece, *, origin: int = 0, distance: int = 0) -> Flight | None:
        return self._fetches.begin(
            layout, piece, origin=origin, distance=distance, playheads=self._playheads()
        )

    # --- viewers -----------------------------------------------------------------------------------

    def _note(self, layout: Layout, piece: Piece, viewer: str) -> Session | None:
        """Note that a piece is asked for; return by which viewer."""
        self._uses.note(layout, piece, self._clock.now_s())
        if piece.order is None or piece.order < 0:
            return None
        session = self._sessions.note(layout.stream, piece.order, viewer, self._reactor.seconds())
        if piece.order > 1:
            session.is_playing = True
        if session.is_playing:
            self._ahead.plan_soon()
        return session

    async def _see_whether_it_plays(self, piece: Piece, session: Session | None) -> None:
        """Wait until a probe would be gone, before anything is asked of the store for it."""
        is_here = self._memory.get(piece.key) is not None or piece.key in self._disk
        if not is_here and session is not None and not session.is_playing:
            await deferLater(self._reactor, PROBE_S)
            session.is_playing = True
            self._ahead.plan_soon()

    def _playheads(self) -> list[Any]:
        return self._sessions.playheads(self._reactor.seconds())

    # --- housekeeping ------------------------------------------------------------------------------

    def _tick_later(self) -> None:
        if self._tick is None:
            self._tick = self._reactor.callLater(TICK_S, self._run_tick)

    def _run_tick(self) -> None:
        self._tick = None
        self._memory.sweep(self._reactor.seconds() - self._settings.memory_ttl_s)
        if len(self._memory):
            self._tick_later()
        Deferred.fromCoroutine(self._uses.flush())
