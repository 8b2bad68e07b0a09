# SPDX-License-Identifier: MIT
"""One fetch of a segment and its many followers: bytes in memory, on their way or arrived."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tgsyncd.errors import DocumentCorrupt
from tgsyncd.playback.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from twisted.internet.defer import Deferred

    from tgsyncd.playback.pieces import Piece

CHUNK_BYTES = 256 * 1024
"""What a follower takes at once: all that a slow reader holds beyond the bytes that everybody shares."""


class Flight:
    """
    The bytes of one piece in memory.

    They arrive in any order, so that a reader in the middle need not wait for what stands before it. The
    last of them is shown to nobody before the whole was verified: ``land``.
    """

    def __init__(self, piece: Piece, stream: str, *, is_ahead: bool, now_s: float) -> None:
        self.piece = piece
        self.stream = stream
        self.is_ahead = is_ahead
        """Begun before anybody asked."""
        self.is_for_head = False
        """Fetched for its beginning: the rest is not worth a place on disk."""
        self.last_used_s = now_s
        self.readers = 0
        self.is_read = False
        """Somebody took the end of it."""
        self.is_landed = False
        self.is_dropped = False
        self.is_writing = False
        """The disk cache is copying it: its memory cannot be freed now."""
        self.is_spilled = False
        self.filled_bytes = 0
        self.work: Deferred[Any] | None = None
        self.on_left: Callable[[Flight], None] = lambda _: None
        self.data = bytearray()
        """As long as the piece once there is room for it: ``make_room``."""
        self._shown: list[tuple[int, int]] = []
        self._is_again = False
        self._wrong_from = piece.size_bytes
        self._error: Exception | None = None
        self._waiters = Waiters()

    def make_room(self) -> None:
        """
        Take the memory, unless that was done.

        The kernel clears it page by page: 4 ms for 6 MB, so it had better be done while nothing arrives yet.
        """
        if not (self.data or self.is_dropped):
            self.data = bytearray(self.piece.size_bytes)

    def put(self, at: int, chunk: bytes) -> None:
        """Take bytes that stand at this offset, and were not there yet."""
        if self.is_dropped:
            return
        self.make_room()
        end = at + len(chunk)
        if self._is_again and self.data[at:end] != chunk:
            self._wrong_from = min(self._wrong_from, at)
        self.data[at:end] = chunk
        self.filled_bytes += len(chunk)
        if self.filled_bytes < self.piece.size_bytes:
            self._show(at, end)
            self._waiters.wake()

    def missing(self, origin: int) -> list[tuple[int, int]]:
        """Return the ranges that have not arrived: those from ``origin`` on first."""
        if self.filled_bytes == self.piece.size_bytes:
            return []
        gaps, position = [], 0
        for start, end in [*self._shown, (self.piece.size_bytes, self.piece.size_bytes)]:
            gaps += [(a, b) for a, b in _split(position, start, origin) if a < b]
            position = end
        return sorted(gaps, key=lambda gap: (gap[0] < origin, gap[0]))

    def land(self) -> None:
        """Show everything: all bytes are there and were verified."""
        self.is_landed = True
        self._shown = [(0, self.piece.size_bytes)]
        self._waiters.wake()

    def restart(self) -> None:
        """Begin again, because something that arrived was wrong. Who has taken none of it notices nothing."""
        self._shown, self.filled_bytes, self._is_again = [], 0, True

    def fail(self, error: Exception) -> None:
        """Tell all followers that there will be no more."""
        self._error = error
        self._waiters.wake()

    def drop(self) -> None:
        """
        Leave the memory: followers take the rest from elsewhere.

        The bytes go at once: a reader who is stalled keeps a reference to the flight, for hours if he likes.
        """
        self.is_dropped = True
        self.data, self._shown = bytearray(), []
        self._waiters.wake()

    def available(self, position: int) -> int:
        """Return the end of what can be read from this offset on, which is the offset if nothing can."""
        return next((end for start, end in self._shown if start <= position < end), position)

    async def follow(self, start: int, position: int, stop: int) -> AsyncGenerator[bytes, None]:
        """
        Yield bytes ``[position, stop)`` as they arrive; fewer when the flight is dropped meanwhile.

        The reader has taken ``[start, position)`` already. Raises what ended the fetch; DocumentCorrupt
        when a part that was taken turned out to be wrong.
        """
        self.readers += 1
        # Nothing taken of a trial that did not match: nothing to compare with the one after it.
        is_sound = self._is_again and position == start
        try:
            while position < stop and not self.is_dropped:
                end = min(self.available(position), stop, position + CHUNK_BYTES)
                if end > position:
                    is_sound = is_sound or (self._is_again and position == start)
                    if not is_sound and position > self._wrong_from:
                        raise DocumentCorrupt("a part that was sent already is not what was stored")
                    chunk = _copy(self.data, position, end)
                    position = end
                    self.is_read = self.is_read or end == self.piece.size_bytes
                    yield chunk
                elif self._error is None:
                    await self._waiters.wait()
                else:
                    break
            if position < stop and self._error is not None:
                raise copy.copy(self._error) from self._error
        finally:
            self.readers -= 1
            self.on_left(self)

    def _show(self, start: int, end: int) -> None:
        """Add a range, joined with those that it touches: there are two or three at most."""
        ranges = sorted([*self._shown, (start, end)])
        joined = [ranges[0]]
        for start, end in ranges[1:]:  # noqa: PLR1704 (what was passed is in the list)
            if start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        self._shown = joined


def _split(start: int, end: int, at: int) -> list[tuple[int, int]]:
    return [(start, at), (at, end)] if start < at < end else [(start, end)]


def _copy(data: bytearray, start: int, end: int) -> bytes:
    # Not data[start:end], which would copy twice on its way to bytes.
    with memoryview(data) as view:
        return bytes(view[start:end])
