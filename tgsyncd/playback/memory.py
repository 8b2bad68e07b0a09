# SPDX-License-Identifier: MIT
"""Segments in memory: never more than the limit, what is on its way and what is being sent included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.playback.flight import CHUNK_BYTES, Flight
from tgsyncd.playback.policy import Kept, plan_eviction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tgsyncd.playback.pieces import Piece
    from tgsyncd.playback.policy import Playhead


class Memory:
    """All flights, by the key of their piece."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.evictions = 0
        self._flights: dict[str, Flight] = {}
        self._held_bytes = 0
        self._senders = 0

    @property
    def used_bytes(self) -> int:
        """Return what is held, with one chunk for each answer that is being sent."""
        return self._held_bytes + self._senders * CHUNK_BYTES

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._flights.values()))

    def get(self, key: str) -> Flight | None:
        """Return the piece's flight, if it is here."""
        return self._flights.get(key)

    def admit(
        self,
        piece: Piece,
        stream: str,
        *,
        playheads: Collection[Playhead],
        distance: int,
        now_s: float,
    ) -> Flight | None:
        """
        Make room for a piece that is wanted at this distance, and return its flight.

        None when the room is taken by what is wanted as soon: the reader is then served past the memory.
        """
        if not self._make_room(piece.size_bytes, playheads, distance):
            return None
        flight = Flight(piece, stream, is_ahead=distance > 0, now_s=now_s)
        self._flights[piece.key] = flight
        self._held_bytes += piece.size_bytes
        return flight

    def begin_sending(self, playheads: Callable[[], Collection[Playhead]]) -> None:
        """Count one more answer that is being sent."""
        self._senders += 1
        if self.used_bytes > self.limit_bytes:
            self._make_room(0, playheads(), 0)

    def end_sending(self) -> None:
        """Count one answer less."""
        self._senders -= 1

    def drop(self, flight: Flight) -> None:
        """Forget a flight and free its bytes. Does nothing when it is not here."""
        if self._flights.get(flight.piece.key) is flight:
            del self._flights[flight.piece.key]
            self._held_bytes -= flight.piece.size_bytes
        flight.drop()

    def sweep(self, used_before_s: float) -> None:
        """Drop what was last used before this time."""
        for flight in self:
            if _is_free(flight) and not flight.readers and flight.last_used_s < used_before_s:
                self.drop(flight)

    def _make_room(self, size_bytes: int, playheads: Collection[Playhead], distance: int) -> bool:
        need_bytes = self.used_bytes + size_bytes - self.limit_bytes
        if need_bytes <= 0:
            return True
        keys = plan_eviction(
            [_kept(flight) for flight in self._flights.values() if _is_free(flight)],
            playheads,
            need_bytes=need_bytes,
            newcomer_distance=distance,
        )
        for key in keys or ():
            self.drop(self._flights[key])
            self.evictions += 1
        return keys is not None


def _is_free(flight: Flight) -> bool:
    return flight.is_landed and not flight.is_writing


def _kept(flight: Flight) -> Kept:
    piece = flight.piece
    return Kept(
        key=piece.key,
        stream=flight.stream,
        order=piece.order or 0,
        size_bytes=piece.size_bytes,
        last_used_s=flight.last_used_s,
        is_read=flight.is_read and not flight.readers,
        is_spilled=flight.is_spilled,
    )
