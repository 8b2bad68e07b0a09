# SPDX-License-Identifier: MIT
"""
PURE: who is watching what, and where.

Players tell nothing of themselves, and several of them may stand behind one address (a proxy, Jellyfin
itself). So a viewer is known by the way he reads: the next request is for the same segment or the next one.
The address only helps to see that a viewer jumped.
"""

from __future__ import annotations

from dataclasses import dataclass

from tgsyncd.playback.policy import Playhead

LIVE_S = 120.0
"""
A viewer who has asked for nothing so long is gone, as far as reading ahead and keeping are concerned.

hls.js asks every 6 s, and stops for as long as it is paused; a paused viewer finds his segments on disk.
"""

EXPIRE_EVERY_S = 1.0
"""Who is gone is gone a second later, too; it need not be looked at for each request."""

MAX_SESSIONS = 1024
STEP_BACK = 2
"""So many segments back are a step back of the same viewer, not a jump."""


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One viewer of one stream."""

    stream: str
    order: int
    viewer: str
    last_s: float
    is_playing: bool = False
    """More than a probe: things are read ahead for him."""
    has_jumped: bool = False
    """He went on somewhere else."""

    @property
    def playhead(self) -> Playhead:
        return Playhead(stream=self.stream, order=self.order)


class Sessions:
    """All viewers of the last minutes."""

    def __init__(self, live_s: float = LIVE_S) -> None:
        self._live_s = live_s
        self._sessions: list[Session] = []
        self._expired_s = float("-inf")

    def __len__(self) -> int:
        """Return how many are kept, those that somebody left included."""
        return len(self._sessions)

    def note(self, stream: str, order: int, viewer: str, now_s: float) -> Session:
        """Note a request for a segment; return whose it is. ``viewer`` is the client's address, or empty."""
        self._expire(now_s)
        session = self._find(stream, order, viewer)
        if session is None:
            if order > 1:
                self._leave_elsewhere(stream, viewer)
            session = Session(stream=stream, order=order, viewer=viewer, last_s=now_s)
            self._sessions.append(session)
            del self._sessions[:-MAX_SESSIONS]
        session.order, session.last_s, session.has_jumped = order, now_s, False
        return session

    def playing(self, now_s: float) -> list[Session]:
        """Return the viewers for whom things are read ahead."""
        self._expire(now_s)
        return [each for each in self._sessions if each.is_playing and not each.has_jumped]

    def playheads(self, now_s: float) -> list[Playhead]:
        """Return where all viewers are, probes included."""
        self._expire(now_s)
        return [each.playhead for each in self._sessions if not each.has_jumped]

    def _find(self, stream: str, order: int, viewer: str) -> Session | None:
        def fits(each: Session) -> bool:
            step = order - each.order
            if each.viewer == viewer:
                return -STEP_BACK <= step <= STEP_BACK
            return 0 <= step <= 1 and not (viewer and each.viewer)

        near = [each for each in self._sessions if each.stream == stream and fits(each)]
        return min(near, key=lambda each: (abs(order - 1 - each.order), -each.last_s), default=None)

    def _leave_elsewhere(self, stream: str, viewer: str) -> None:
        """
        Note that a viewer jumped. Should there be two behind one address, the other one comes back.

        Where he was before his last jump is forgotten, so that jumps, however many, leave one session.
        """
        if not viewer:
            return
        mine = [each for each in self._sessions if each.viewer == viewer and each.stream == stream]
        left = {each for each in mine if each.has_jumped}
        self._sessions = [each for each in self._sessions if each not in left]
        for each in mine:
            each.has_jumped = True

    def _expire(self, now_s: float) -> None:
        if 0.0 <= now_s - self._expired_s < EXPIRE_EVERY_S:
            return
        self._expired_s = now_s
        self._sessions = [each for each in self._sessions if now_s - each.last_s < self._live_s]
