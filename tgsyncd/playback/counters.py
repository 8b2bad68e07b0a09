# SPDX-License-Identifier: MIT
"""What the cache counts: for ``/debug``, and for ``cache_metadata`` once a minute."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgsyncd.model import VideoId
    from tgsyncd.playback.pieces import Layout, Piece


@dataclass(slots=True, kw_only=True)
class Counters:
    """Since the process began."""

    hits: int = 0
    """Requests for a segment that was here: in memory, on disk, or its pinned head."""
    joined: int = 0
    """Requests for a segment that was on its way for somebody else, or ahead."""
    misses: int = 0
    """Requests that made it be fetched."""
    passed_by: int = 0
    """Reads of the store past the memory, which had no room; others may have followed them."""
    fetches: int = 0
    fetches_ahead: int = 0
    """Of them, those begun before anybody asked."""
    fetches_cancelled: int = 0
    fetches_corrupt: int = 0
    hedges: int = 0
    """Reads for which another bot was asked as well, because the first was late."""
    hedges_won: int = 0
    """Of them, those where the other one delivered first."""
    connections_added: int = 0
    """Because a segment came slower than it plays."""
    bytes_served: int = 0
    bytes_fetched: int = 0

    def report(self) -> dict[str, object]:
        """Return all, with the ratios that matter."""
        requests = self.hits + self.joined + self.misses
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "hit_ratio": round((self.hits + self.joined) / requests, 4) if requests else None,
            "amplification": round(self.bytes_fetched / self.bytes_served, 4) if self.bytes_served else None,
        }


@dataclass(slots=True, kw_only=True)
class SegmentUse:
    """What the cache saw of one segment since it last told."""

    video_id: VideoId
    revision: int
    rendition: str
    segment_filename: str
    cached_at_s: float
    accesses: int
    last_accessed_s: float
    cache_size_bytes: int


MAX_USES = 20_000
"""Some 300 bytes each; a minute sees that many only when somebody tries."""


class Uses:
    """The uses of segments, by place."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, int | None], SegmentUse] = {}

    def note(self, layout: Layout, piece: Piece, now_s: float) -> None:
        """Note that a piece was asked for."""
        key = (layout.stream, piece.order)
        use = self._uses.get(key)
        if use is not None:
            use.accesses += 1
            use.last_accessed_s = now_s
        elif len(self._uses) < MAX_USES:
            self._uses[key] = SegmentUse(
                video_id=layout.rendition.video_id,
                revision=layout.rendition.revision,
                rendition=layout.rendition.name,
                segment_filename=layout.filename(piece),
                cached_at_s=now_s,
                accesses=1,
                last_accessed_s=now_s,
                cache_size_bytes=piece.size_bytes,
            )

    def take(self) -> list[SegmentUse]:
        """Return what was seen, and forget it."""
        uses, self._uses = self._uses, {}
        return list(uses.values())
