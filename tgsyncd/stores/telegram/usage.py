# SPDX-License-Identifier: MIT
"""
What a bot, a chat, or a bot in a chat has used of its budget, and how long its uploads take. Pure.

All times are wall-clock seconds, because they are kept over restarts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0

MARGIN_S = 0.05
"""Clocks and networks jitter."""

_PACED_MAX_S = 2.0
"""A small upload behind a large one waits no longer than this to arrive a second after it."""

_LEAD_SAMPLES = 20
_LEAD_SHARE = 0.9


@dataclass(slots=True)
class Block:
    """An order to be quiet. It keeps its length when the wall clock is set back."""

    at_s: float = 0.0
    until_s: float = 0.0

    def ends_s(self, now_s: float) -> float:
        """Until when; a time past when there is none."""
        if now_s < self.at_s:
            self.until_s -= self.at_s - now_s
            self.at_s = now_s
        return self.until_s

    def extend(self, now_s: float, wait_s: float) -> None:
        """Note an order; one that ends earlier changes nothing."""
        if now_s + wait_s > self.ends_s(now_s):
            self.at_s, self.until_s = now_s, now_s + wait_s


@dataclass(slots=True)
class Window:
    """Arrivals of the last minute, and what is in flight."""

    arrived_at_s: deque[float] = field(default_factory=deque)
    in_flight: dict[int, float] = field(default_factory=dict)
    """Slot number to when it began."""
    last_begun_s: float = 0.0
    last_takes_s: float = 0.0
    """How long what began last is expected to take."""

    @property
    def used(self) -> int:
        """Messages of the last minute, those in flight included."""
        return len(self.in_flight) + len(self.arrived_at_s)

    def forget_old(self, now_s: float) -> None:
        """Let go of what arrived a minute ago or earlier."""
        while self.arrived_at_s and not now_s - WINDOW_S < self.arrived_at_s[0]:
            self.arrived_at_s.popleft()
        if self.arrived_at_s and self.arrived_at_s[-1] > now_s:  # the clock was set back
            self.arrived_at_s = deque(min(at, now_s) for at in self.arrived_at_s)

    def free_at_s(self, limit: int, lead_s: float) -> float | None:
        """When one more may begin so that it arrives in a free slot; None: one must arrive first."""
        spare = limit - self.used
        if spare > 0:
            return 0.0
        if len(self.arrived_at_s) + spare <= 0:
            return None
        return self.arrived_at_s[-spare] + WINDOW_S + MARGIN_S - lead_s

    def paced_at_s(self, now_s: float, interval_s: float, takes_s: float) -> float:
        """When one more may begin so that it arrives an interval behind the last."""
        begun_s = min(self.last_begun_s, now_s)
        if not interval_s:
            return begun_s
        return begun_s + interval_s + min(max(0.0, self.last_takes_s - takes_s), _PACED_MAX_S)


@dataclass(slots=True)
class Pair:
    """A bot in a chat (or in all): its window, its orders to be quiet, and how long its uploads took."""

    window: Window = field(default_factory=Window)
    block: Block = field(default_factory=Block)
    lately: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_LEAD_SAMPLES))
    """(seconds, bytes) of what arrived."""

    def lead_s(self, size_bytes: int) -> float:
        """How long it takes at least."""
        return min(min(self._took_s(size_bytes), default=0.0) * _LEAD_SHARE, WINDOW_S / 2)

    def takes_s(self, size_bytes: int) -> float:
        """How long it will probably take."""
        took_s = sorted(self._took_s(size_bytes))
        return took_s[len(took_s) // 2] if took_s else 0.0

    def _took_s(self, size_bytes: int) -> list[float]:
        if len(self.lately) < _LEAD_SAMPLES // 4:
            return []
        # Much smaller ones say little; of larger ones, a part of their time.
        alike = [(took_s, size) for took_s, size in self.lately if size * 2 >= size_bytes] or self.lately
        return [took_s * _part(size_bytes, size) for took_s, size in alike]


def _part(size_bytes: int, of_bytes: int) -> float:
    return min(1.0, size_bytes / of_bytes) if size_bytes and of_bytes else 1.0
