# SPDX-License-Identifier: MIT
"""Reading ahead of the viewers: what to begin, what to give up, what Telegram should get ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.playback.policy import choose_ahead, choose_depth, count_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from tgsyncd.model import DocumentRef
    from tgsyncd.playback.fetches import Fetches
    from tgsyncd.playback.flight import Flight
    from tgsyncd.playback.memory import Memory
    from tgsyncd.playback.pieces import Layout, Layouts, Piece
    from tgsyncd.playback.policy import Playhead
    from tgsyncd.playback.sessions import Session, Sessions
    from tgsyncd.playback.shelf import Shelf
    from tgsyncd.playback.upstream import Upstream

ASK_AHEAD_S = 48.0
"""
So much film ahead the store is told what comes, on top of what is fetched.

getFile of 19.9 MB takes seconds, and its answer is good for an hour.
"""


PLAN_EVERY_S = 0.05
"""Between two looks at the viewers. Chunks of what is fetched come faster, and each asks for one."""


class ReadAhead:
    """Begins fetches before anybody asks."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        layouts: Layouts,
        fetches: Fetches,
        memory: Memory,
        disk: Shelf,
        upstream: Upstream,
        reactor: IReactorTime,
        ahead_s: float,
        ask_ahead: Callable[[DocumentRef], None],
    ) -> None:
        self._sessions = sessions
        self._layouts = layouts
        self._fetches = fetches
        self._memory = memory
        self._disk = disk
        self._upstream = upstream
        self._reactor = reactor
        self._ahead_s = ahead_s
        self._ask_ahead = ask_ahead
        self._asked: dict[Session, int] = {}
        """Up to which offset the store was told, for each viewer."""
        self._wanted: set[str] = set()
        self._call: IDelayedCall | None = None
        self._planned_s = -PLAN_EVERY_S

    def plan_soon(self) -> None:
        """Look at the viewers again: at the next turn of the reactor, unless that was done just now."""
        if self._call is None:
            rest_s = self._planned_s + PLAN_EVERY_S - self._reactor.seconds()
            self._call = self._reactor.callLater(max(rest_s, 0.0), self._plan)

    def is_wanted(self, flight: Flight) -> bool:
        """Tell whether a viewer will ask for it soon, as far as was planned."""
        return flight.piece.key in self._wanted

    def close(self) -> None:
        """Plan no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def depth(self, layout: Layout, order: int, viewers: int) -> int:
        """Return how many segments are read ahead of a viewer who is at this one, of so many viewers."""
        return choose_depth(
            budget_bytes=self._memory.limit_bytes,
            viewers=viewers,
            mean_bytes=layout.mean_bytes,
            max_depth=count_ahead(layout.durations_after(order), self._ahead_s),
        )

    def _plan(self) -> None:
        self._call = None
        self._planned_s = now_s = self._reactor.seconds()
        sessions = self._sessions.playing(now_s)
        chosen = self._choose(sessions)
        # What is on its way for a viewer goes on while he waits for his own segment; nothing new is begun.
        self._wanted = {piece.key for _, _, piece, _ in chosen}
        for flight in self._memory:
            is_idle = flight.is_ahead and not flight.readers and not flight.is_landed
            if is_idle and not self._fetches.shall_finish(flight):
                self._fetches.cancel(flight)
        playheads = self._sessions.playheads(now_s)
        busy = {each.playhead for each in sessions if self._is_early(each)}
        for head, layout, piece, away in chosen:
            is_here = self._memory.get(piece.key) is not None or piece.key in self._disk
            if head not in busy and not is_here:
                self._fetches.begin(layout, piece, distance=away, playheads=playheads)
        self._tell_store(sessions)

    def _choose(self, sessions: list[Session]) -> list[tuple[Playhead, Layout, Piece, int]]:
        """Return what should be here, with whose it is and its distance from him, the most urgent first."""
        layouts: dict[Playhead, tuple[Layout, int]] = {}
        for session in sessions:
            layout = self._layouts.get(session.stream)
            if layout is not None:
                layouts[session.playhead] = layout, self.depth(layout, session.order, len(sessions))
        chosen = []
        for head, away in choose_ahead(
            list(layouts), max((depth for _, depth in layouts.values()), default=0)
        ):
            layout, depth = layouts[head]
            piece = layout.segment(head.order + away)
            if piece is not None and piece.key and away <= depth:
                chosen.append((head, layout, piece, away))
        return chosen

    def _is_early(self, session: Session) -> bool:
        """Tell whether the viewer's own segment still needs the whole line: then nothing more is begun."""
        layout = self._layouts.get(session.stream)
        piece = layout.segment(session.order) if layout else None
        flight = self._memory.get(piece.key) if piece else None
        return flight is not None and flight.filled_bytes * 2 < flight.piece.size_bytes

    def _tell_store(self, sessions: list[Session]) -> None:
        self._asked = {session: self._asked[session] for session in sessions if session in self._asked}
        for session in sessions:
            layout = self._layouts.get(session.stream)
            here = layout.segment(session.order) if layout else None
            if layout is None or here is None:
                continue
            told = count_ahead(layout.durations_after(session.order), self._ahead_s + ASK_AHEAD_S)
            last = layout.segment(session.order + told)
            stop = last.end if last else here.end
            start = self._asked.get(session, here.offset)
            if not here.offset <= start <= stop:
                start = here.offset  # he jumped
            if start < stop:
                for document in self._upstream.documents(layout.rendition, start, stop):
                    self._ask_ahead(document.ref)
                self._asked[session] = stop
