# SPDX-License-Identifier: MIT
"""
One fetch for everybody where the memory has no room: a window of the last bytes, and who keeps up with it.

Readers who are near each other, as those are who wait for the same segment, share one read of the store.
Who falls behind is waited for a little; then he is left behind and reads on his own, with others like him.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from tgsyncd.errors import StoreUnavailable
from tgsyncd.playback.flight import CHUNK_BYTES
from tgsyncd.playback.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

LAG_S = 1.0
"""So long one reader may keep the others waiting."""

WINDOW_BYTES = 4 * CHUNK_BYTES
"""At most; and one chunk for each reader, which is what the memory counts for him."""


class Relay:
    """
    One read of ``[start, stop)`` for several readers.

    Nothing is read ahead of the foremost reader. ``on_end`` is called when the last one has left, or nobody
    can join any more.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        start: int,
        stop: int,
        *,
        reactor: IReactorTime,
        on_end: Callable[[Relay], None],
    ) -> None:
        self._chunks = chunks
        self._reactor = reactor
        self._on_end = on_end
        self._window: deque[bytes] = deque()
        self._base = self._end = start
        """The window's ends."""
        self._stop = stop
        self._readers: dict[object, int] = {}
        """Where each of them stands."""
        self._error: Exception | None = None
        self._asking: Deferred[Any] | None = None
        self._waiters = Waiters()
        self._patience: IDelayedCall | None = None

    def can_serve(self, position: int, stop: int) -> bool:
        """Tell whether a reader of ``[position, stop)`` finds his next byte here."""
        return self._error is None and self._base <= position <= self._end and stop <= self._stop

    async def follow(self, position: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``[position, stop)``; fewer when the reader was left behind. Raises what ended it."""
        me = object()
        self._readers[me] = position
        try:
            while position < stop and position >= self._base:
                chunk = self._chunk_at(position, stop)
                if chunk:
                    position += len(chunk)
                    self._readers[me] = position
                    if self._patience is not None:
                        self._waiters.wake()
                    yield chunk
                elif self._error is not None:
                    raise copy.copy(self._error) from self._error
                else:
                    self._ask()
                    if self._end <= position and self._error is None:
                        await self._waiters.wait()
        finally:
            del self._readers[me]
            if self._readers:
                self._waiters.wake()
            else:
                await self._close()

    def _chunk_at(self, position: int, stop: int) -> bytes:
        at = self._base
        for chunk in self._window:
            if at <= position < at + len(chunk):
                return chunk[position - at : stop - at]
            at += len(chunk)
        return b""

    def _ask(self) -> None:
        """Ask the store for the next chunk, unless that is under way or somebody is too far behind."""
        if self._asking is not None:
            return
        limit = min(WINDOW_BYTES, len(self._readers) * CHUNK_BYTES)
        self._forget(limit)
        if self._end - self._base >= limit and self._base < self._end:
            if self._patience is None:
                self._patience = self._reactor.callLater(LAG_S, self._leave_behind)
            return
        self._stop_waiting()
        self._asking = Deferred.fromCoroutine(_anext(self._chunks))
        self._asking.addCallbacks(self._note, self._note_failure)

    def _forget(self, limit: int) -> None:
        """Drop what all have taken."""
        slowest = min(self._readers.values(), default=self._end)
        while self._window and self._end - self._base >= limit:
            if self._base + len(self._window[0]) > slowest:
                return
            self._base += len(self._window.popleft())

    def _leave_behind(self) -> None:
        self._patience = None
        if self._window:
            self._base += len(self._window.popleft())
        self._waiters.wake()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _note(self, chunk: bytes | None) -> None:
        self._asking = None
        if chunk is None:
            self._fail(StoreUnavailable("the store ended early"))
            return
        self._window.append(chunk)
        self._end += len(chunk)
        self._waiters.wake()

    def _note_failure(self, failure: Failure) -> None:
        self._asking = None
        self._fail(failure.value)

    def _fail(self, error: BaseException | None) -> None:
        self._error = error if isinstance(error, Exception) else StoreUnavailable("a read was given up")
        self._on_end(self)
        self._waiters.wake()

    async def _close(self) -> None:
        self._on_end(self)
        self._stop_waiting()
        if self._asking is not None:
            asking, self._asking = self._asking, None
            asking.cancel()
        await self._chunks.aclose()


class Relays:
    """The relays under way, by what they bring."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._relays: dict[str, list[Relay]] = {}

    def follow(
        self, key: str, position: int, stop: int, open_chunks: Callable[[], AsyncGenerator[bytes, None]]
    ) -> tuple[AsyncGenerator[bytes, None], bool]:
        """Return the bytes ``[position, stop)`` of a piece, and whether somebody's read is joined for it."""
        known = self._relays.setdefault(key, [])
        for relay in known:
            if relay.can_serve(position, stop):
                return relay.follow(position, stop), True
        relay = Relay(
            open_chunks(), position, stop, reactor=self._reactor, on_end=lambda ended: self._end(key, ended)
        )
        known.append(relay)
        return relay.follow(position, stop), False

    def __len__(self) -> int:
        return sum(map(len, self._relays.values()))

    def _end(self, key: str, relay: Relay) -> None:
        known = self._relays.get(key, [])
        if relay in known:
            known.remove(relay)
        if not known:
            self._relays.pop(key, None)


async def _anext(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(chunks, None)
