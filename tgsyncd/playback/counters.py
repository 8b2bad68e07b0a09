# SPDX-License-Identifier: MIT
"""What the cache counts, for ``/debug``."""

from __future__ import annotations

from dataclasses import dataclass, fields


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
