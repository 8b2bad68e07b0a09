# SPDX-License-Identifier: MIT
"""
PURE: what the cache keeps, what is read ahead, and which fetches go on without a reader.

Plain LRU keeps what was just watched and throws out what was read ahead, the least recently used of all:
with three viewers nearly every segment is fetched four times (docs/playback.md has the figures). What
matters is when a segment is wanted next, and playheads tell: the distance is the number of segments
between the nearest playhead behind it and itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

HEAD_BYTES = {-1: 64 << 20, 0: 3_000_000, 1: 256_000}
"""
What of a video stays on local disk, by the segment's order; -1 is the initialization section, kept whole.

Jellyfin probes segments 0 and 1 at every Play.
"""

PROBE_S = 0.3
"""
Who wants more than the head, and still does after so long, is no probe.

ffprobe as Jellyfin runs it, on 8 Mbit/s, reads 1.5 MB of segment 0 and opens segment 1, all in 45 to 60 ms;
but socket buffers take up to 1.5 MB more of segment 0, and all of segment 1's head.
A play has seconds in hand then.
"""

ROOM_SHARE = 0.9
"""Of the memory, what reading ahead plans with; the rest is for segments larger than the mean."""

NEARLY_DONE_BYTES = 1 << 20
NEARLY_DONE_SHARE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Playhead:
    """A viewer is reading this segment of this stream."""

    stream: str
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A segment that may be evicted."""

    key: str
    stream: str
    order: int
    size_bytes: int
    last_used_s: float
    is_read: bool
    """Somebody has read its end."""
    is_spilled: bool = False
    """There is a copy on local disk."""


def distance(stream: str, order: int, playheads: Iterable[Playhead]) -> int | None:
    """Return how many segments the nearest viewer has before this one; None when nobody is behind it."""
    ahead = [order - head.order for head in playheads if head.stream == stream and head.order <= order]
    return min(ahead, default=None)


def order_evictions(kept: Iterable[Kept], playheads: Collection[Playhead]) -> list[tuple[Kept, int | None]]:
    """
    Return what may be evicted, first to go first, with its distance.

    What was read and has nobody behind it, then what was read ahead for viewers that are gone, both by
    last use; then what viewers will ask for, the farthest first.
    """
    known = [(each, _distance_of(each, playheads)) for each in kept]

    def rank(item: tuple[Kept, int | None]) -> tuple[int, float]:
        each, away = item
        if away is None:
            return (0 if each.is_read else 1), each.last_used_s
        return 2, -away

    return sorted(known, key=rank)


def _distance_of(each: Kept, playheads: Collection[Playhead]) -> int | None:
    # Who is at a segment that was read has read it: only those behind will ask for it.
    if each.is_read:
        playheads = [head for head in playheads if head.order != each.order]
    return distance(each.stream, each.order, playheads)


def plan_eviction(
    kept: Iterable[Kept], playheads: Collection[Playhead], *, need_bytes: int, newcomer_distance: int
) -> list[str] | None:
    """
    Return the keys to evict so that ``need_bytes`` become free; None when that costs more than it brings.

    What is wanted as soon as the newcomer, or sooner, stays, unless there is a copy on disk.
    """
    chosen: list[str] = []
    for each, away in order_evictions(kept, playheads):
        if need_bytes <= 0:
            break
        if away is None or away > newcomer_distance or each.is_spilled:
            chosen.append(each.key)
            need_bytes -= each.size_bytes
    return chosen if need_bytes <= 0 else None


def choose_depth(*, budget_bytes: int, viewers: int, mean_bytes: float, max_depth: int) -> int:
    """
    Return how many segments are read ahead of each viewer.

    One place is for the segment being read. One ahead is always tried: ``plan_eviction`` sees to it that it
    takes nobody's place, and with none at all four viewers of 13 MB segments would find 7 % instead of 97 %.
    """
    room = int(budget_bytes * ROOM_SHARE / max(viewers, 1) / max(mean_bytes, 1.0)) - 1
    return min(max(room, 1), max_depth)


MAX_AHEAD = 30
"""Segments: of video that is all key frames each may last a second or less."""


def count_ahead(durations_s: Iterable[float], ahead_s: float) -> int:
    """
    Return how many of the next segments, which last so long, are read ahead of a viewer.

    Those whose first half lies within ``ahead_s``, and one at least: of 6 s each it is three in 18 s, of 20 s
    one, of 2 s nine. 0 switches it off.
    """
    count, end_s = 0, 0.0
    for duration_s in durations_s:
        if count >= MAX_AHEAD or ahead_s <= 0 or (count and end_s + duration_s / 2 > ahead_s):
            break
        count, end_s = count + 1, end_s + duration_s
    return count


def shall_finish(*, order: int, filled_bytes: int, size_bytes: int, is_wanted_ahead: bool) -> bool:
    """
    Tell whether a fetch goes on though its last reader has left.

    Segments 0 and 1 always do: who asked for them was a probe, and the play follows.
    """
    left_bytes = size_bytes - filled_bytes
    return (
        is_wanted_ahead
        or order <= 1
        or left_bytes <= NEARLY_DONE_BYTES
        or filled_bytes >= size_bytes * NEARLY_DONE_SHARE
    )


def shall_give_way(*, waiting: int, waited_s: float, limit_s: float) -> bool:
    """
    Tell whether the ingest goes on waiting, because so many readers wait for bytes that are not here.

    Never beyond its limit: a store that is down, or viewers without end, slow the ingest and do not stop it.
    """
    return waiting > 0 and waited_s < limit_s


def head_bytes(order: int | None, size_bytes: int) -> int:
    """Return how much of a segment's beginning stays on local disk; 0 for most."""
    return 0 if order is None else min(HEAD_BYTES.get(order, 0), size_bytes)


def is_beyond_head(order: int | None, start: int, position: int) -> bool:
    """Tell whether a reader of this segment, from ``start`` on, has come to the end of what is pinned."""
    return order is not None and start < HEAD_BYTES.get(order, 0) <= position


def choose_ahead(playheads: Sequence[Playhead], depth: int) -> list[tuple[Playhead, int]]:
    """Return (playhead, distance) pairs in the order in which they are fetched: the nearest of all first."""
    return [(head, away) for away in range(1, depth + 1) for head in playheads]
