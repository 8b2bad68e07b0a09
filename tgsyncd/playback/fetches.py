# SPDX-License-Identifier: MIT
"""The fetches under way: begun once each, verified, kept; cancelled when nobody wants them any more."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tgsyncd.errors import DocumentCorrupt, DocumentMissing, StoreError, VideoGone
from tgsyncd.playback.crew import Crew
from tgsyncd.playback.pieces import INIT_ORDER
from tgsyncd.playback.policy import shall_finish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.python.failure import Failure

    from tgsyncd.playback.counters import Counters
    from tgsyncd.playback.flight import Flight
    from tgsyncd.playback.heads import Heads
    from tgsyncd.playback.memory import Memory
    from tgsyncd.playback.pieces import Layout, Piece
    from tgsyncd.playback.policy import Playhead
    from tgsyncd.playback.shelf import InThread, Shelf
    from tgsyncd.playback.upstream import Upstream

FAILED_KEPT_S = 5.0
"""What failed is not read ahead again for so long; who asks for it himself has it tried at once."""

FETCH_TRIALS = 2
"""A segment that does not match its sha256 is fetched once more."""

ROOM_DELAY_S = 0.02
"""So long after the store was asked the memory is taken: the question has left, an answer takes longer."""


class Fetches:
    """
    Begins fetches into the memory and looks after them.

    ``on_progress`` is called when one has come half way, has landed or has ended: time to plan ahead.
    ``is_wanted`` tells whether a viewer will ask for a flight's piece soon.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        upstream: Upstream,
        memory: Memory,
        disk: Shelf,
        heads: Heads,
        counters: Counters,
        in_thread: InThread,
        now_s: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object] = lambda _seconds, work: work(),
    ) -> None:
        self._upstream = upstream
        self._memory = memory
        self._disk = disk
        self._heads = heads
        self._counters = counters
        self._in_thread = in_thread
        self._now_s = now_s
        self._call_later = call_later
        self._failed: dict[str, float] = {}
        """Until when what failed is not begun again by itself."""
        self.on_progress: Callable[[], None] = lambda: None
        self.is_wanted: Callable[[Flight], bool] = lambda _: False

    def begin(
        self,
        layout: Layout,
        piece: Piece,
        *,
        origin: int = 0,
        distance: int = 0,
        playheads: Collection[Playhead],
    ) -> Flight | None:
        """
        Begin to fetch a piece, from the byte ``origin`` on, then what stands before it.

        None when the memory has no room. ``distance`` 0 means that somebody waits for it: what failed lately
        is not begun for anybody else.
        """
        if distance and self._now_s() < self._failed.get(piece.key, 0.0):
            return None
        flight = self._memory.admit(
            piece, layout.stream, playheads=playheads, distance=distance, now_s=self._now_s()
        )
        if flight is None:
            return None
        flight.on_left = self._note_left
        self._counters.fetches += 1
        self._counters.fetches_ahead += distance > 0
        work = Deferred.fromCoroutine(self._fly(layout, flight, origin))
        flight.work = work.addErrback(self._report)
        self._call_later(ROOM_DELAY_S, flight.make_room)
        return flight

    def cancel(self, flight: Flight) -> None:
        """Give a flight up."""
        self._memory.drop(flight)
        self._counters.fetches_cancelled += 1
        if flight.work is not None:
            flight.work.cancel()

    def shall_finish(self, flight: Flight) -> bool:
        """Tell whether a flight without readers goes on."""
        return shall_finish(
            order=_order(flight),
            filled_bytes=flight.filled_bytes,
            size_bytes=flight.piece.size_bytes,
            is_wanted_ahead=self.is_wanted(flight),
        )

    def close(self) -> None:
        """Give everything up."""
        for flight in self._memory:
            if flight.is_landed:
                self._memory.drop(flight)
            else:
                self.cancel(flight)

    def _note_left(self, flight: Flight) -> None:
        flight.last_used_s = self._now_s()
        is_under_way = not (flight.readers or flight.is_landed or flight.is_dropped)
        if is_under_way and not self.shall_finish(flight):
            self.cancel(flight)

    async def _fly(self, layout: Layout, flight: Flight, origin: int) -> None:
        try:
            await self._fetch_verified(layout, flight, origin)
        except StoreError as error:
            self._note_failed(flight.piece, error)
            flight.fail(error)
            self._memory.drop(flight)
        except BaseException as error:
            if flight.is_dropped:
                return  # cancelled
            flight.fail(StoreError(f"a fetch failed: {error}"))
            self._memory.drop(flight)
            raise
        else:
            flight.last_used_s = self._now_s()
            self._upstream.lost.forget_segment(flight.piece.sha256)
            flight.land()
            self.on_progress()
            await self._write_down(flight)
        finally:
            self.on_progress()

    async def _fetch_verified(self, layout: Layout, flight: Flight, origin: int) -> None:
        head = await self._heads.load(flight.piece)
        for trial in range(FETCH_TRIALS):
            if head and not trial:
                flight.put(0, head)
                origin = max(origin, len(head))
            gaps = flight.missing(origin)
            if gaps and flight.piece.order == INIT_ORDER:
                is_right = await self._bring_from_documents(layout, flight)
            else:
                await self._bring(layout, flight, gaps)
                is_right = await self._is_right(flight)
            if is_right:
                return
            self._counters.fetches_corrupt += 1
            await self._heads.discard(flight.piece)
            await self._upstream.forget_copies(layout.rendition)
            flight.restart()
            origin = 0
        raise DocumentCorrupt("what the store sent is not what was stored (sha256 differs)")

    def _note_failed(self, piece: Piece, error: StoreError) -> None:
        now_s = self._now_s()
        self._failed = {key: until_s for key, until_s in self._failed.items() if until_s > now_s}
        self._failed[piece.key] = now_s + FAILED_KEPT_S
        is_lost = isinstance(error, DocumentMissing | DocumentCorrupt) and not isinstance(error, VideoGone)
        if is_lost and piece.sha256:
            self._upstream.lost.note_segment(piece.sha256)

    async def _bring(self, layout: Layout, flight: Flight, gaps: list[tuple[int, int]]) -> None:
        piece, half = flight.piece, flight.piece.size_bytes // 2
        is_early = flight.filled_bytes < half

        def note_bytes() -> None:
            nonlocal is_early
            if is_early and flight.filled_bytes >= half:
                is_early = False
                self.on_progress()

        def note_added() -> None:
            self._counters.connections_added += 1

        crew = Crew(
            flight,
            lambda start, stop: self._upstream.open(
                layout.rendition, piece.offset + start, piece.offset + stop
            ),
            need_bytes_per_s=piece.bytes_per_s,
            may_add=self._upstream.honours_ranges,
            now_s=self._now_s,
            on_added=note_added,
            on_bytes=note_bytes,
        )
        await crew.bring(gaps)

    async def _bring_from_documents(self, layout: Layout, flight: Flight) -> bool:
        """
        Fetch the initialization section, and tell whether it is right.

        It has no sha256 of its own, so the documents that hold it are read and compared: one, nearly always,
        and once, because it is pinned from then on. Nobody is shown a byte before.
        """
        size_bytes, data = flight.piece.size_bytes, bytearray()
        for document in self._upstream.documents(layout.rendition, 0, size_bytes):
            digest, position = hashlib.sha256(), 0
            async with aclosing(self._upstream.open_document(layout.rendition, document)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    left_bytes = min(document.length - position, size_bytes - len(data))
                    data += chunk[: max(left_bytes, 0)]
                    position += len(chunk)
            if digest.hexdigest() != document.ref.sha256:
                return False
        flight.put(0, bytes(data))
        return flight.filled_bytes == size_bytes

    async def _is_right(self, flight: Flight) -> bool:
        piece = flight.piece
        if not piece.sha256:
            return True
        digest: str = await self._in_thread(lambda: hashlib.sha256(flight.data).hexdigest())
        return digest == piece.sha256

    async def _write_down(self, flight: Flight) -> None:
        """Bring a verified piece to disk. Its memory stays counted until that is done."""
        flight.is_writing = True
        try:
            await self._heads.keep(flight)
            if flight.piece.sha256 and not (flight.is_for_head or flight.is_dropped):
                flight.is_spilled = await self._disk.write(
                    flight.piece.key, flight.data, stream=flight.stream, order=_order(flight)
                )
        finally:
            flight.is_writing = False

    def _report(self, failure: Failure) -> None:
        self._log.failure("A fetch failed", failure=failure)


def _order(flight: Flight) -> int:
    return flight.piece.order or 0
