# SPDX-License-Identifier: MIT
"""Reading a part of a document, by another bot as well when it is late: the first to deliver goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tgsyncd.errors import StoreUnavailable
from tgsyncd.playback.lines import Waits, hedge_after_s, may_hedge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.model import DocumentRef
    from tgsyncd.ports import Store


class Hedging:
    """What is known of the store's latency, and how often another bot was asked."""

    def __init__(self, count_bots: Callable[[DocumentRef], int]) -> None:
        self.count_bots = count_bots
        self.waits = Waits()
        self.reads = 0
        self.hedges = 0
        self.hedges_won = 0
        """Of them, those where the second bot delivered first."""

    def may_begin(self, ref: DocumentRef) -> bool:
        """Tell whether another bot may be asked for this document."""
        return may_hedge(bots=self.count_bots(ref), hedges=self.hedges, reads=self.reads)


class Race:
    """
    One read of ``[start, stop)`` of a document.

    The store is asked a second time when nothing came for longer than usual, and by itself chooses another
    bot for that. Both wait for the same byte; who has it first goes on alone, the other is cancelled.
    """

    def __init__(self, store: Store, hedging: Hedging, reactor: IReactorTime, *, stall_s: float) -> None:
        self._store = store
        self._hedging = hedging
        self._reactor = reactor
        self._stall_s = stall_s
        self._sources: list[_Source] = []
        self._waiter: Deferred[None] | None = None

    async def read(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """
        Yield the bytes as ``ports.Store.open`` does.

        Raises what it raises, and StoreUnavailable when the store stalls or ends too early.
        """
        self._hedging.reads += 1
        self._open(ref, start, stop)
        is_first = True
        try:
            while start < stop:
                begun_s = self._reactor.seconds()
                chunk = await self._next(ref, start, stop)
                if is_first:
                    self._hedging.waits.note(self._reactor.seconds() - begun_s)
                    is_first = False
                start += len(chunk)
                yield chunk
        finally:
            for source in self._sources:
                await source.close()

    def _open(self, ref: DocumentRef, start: int, stop: int) -> None:
        self._sources.append(_Source(self._store.open(ref, start, stop), self._wake))

    async def _next(self, ref: DocumentRef, start: int, stop: int) -> bytes:
        ends_s = self._reactor.seconds() + self._stall_s
        self._sources[0].ask()
        await self._until_one_ended(min(hedge_after_s(self._hedging.waits.usual_s), self._stall_s))
        if not self._ended() and self._hedging.may_begin(ref):
            self._hedging.hedges += 1
            self._open(ref, start, stop)
            self._sources[-1].ask()
        first = self._sources[0]
        while True:
            await self._until_one_ended(ends_s - self._reactor.seconds())
            ended = self._ended()
            if ended is None:
                raise StoreUnavailable("the store stalled")
            if ended.failure is None:
                await self._leave_to(ended, first)
                return _chunk_of(ended)
            self._sources.remove(ended)
            await ended.close()
            if not self._sources:
                ended.failure.raiseException()

    async def _leave_to(self, winner: _Source, first: _Source) -> None:
        self._hedging.hedges_won += winner is not first
        losers, self._sources = [each for each in self._sources if each is not winner], [winner]
        for loser in losers:
            await loser.close()

    def _ended(self) -> _Source | None:
        return next((each for each in self._sources if each.has_ended), None)

    async def _until_one_ended(self, timeout_s: float) -> None:
        """Wait, at most so long."""
        if self._ended() is not None:
            return
        self._waiter = Deferred()
        timer = self._reactor.callLater(max(timeout_s, 0.0), self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer.active():
                timer.cancel()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.called:
            waiter.callback(None)


class _Source:
    """One read by one bot: asked for a chunk, and what came of it."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], wake: Callable[[], None]) -> None:
        self._chunks = chunks
        self._wake = wake
        self._asking: Deferred[None] | None = None
        self.has_ended = False
        """The question was answered: by ``chunk`` (None at the end) or ``failure``."""
        self.chunk: bytes | None = None
        self.failure: Failure | None = None

    def ask(self) -> None:
        """Ask for the next chunk."""
        self.has_ended, self.chunk = False, None
        self._asking = Deferred.fromCoroutine(_anext(self._chunks)).addBoth(self._note)

    async def close(self) -> None:
        """Give it up. What does not end at once is closed when it does: nobody waits for that."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            if not self.has_ended:
                asking.addCallback(lambda _: Deferred.fromCoroutine(self._chunks.aclose()))
                return
        await self._chunks.aclose()

    def _note(self, outcome: bytes | Failure | None) -> None:
        self.has_ended = True
        if isinstance(outcome, Failure):
            self.failure = outcome
        else:
            self.chunk = outcome
        self._wake()


def _chunk_of(source: _Source) -> bytes:
    if source.chunk is None:
        raise StoreUnavailable("the store ended early")
    return source.chunk


async def _anext(source: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(source, None)
