# SPDX-License-Identifier: MIT
"""What the cache holds, for ``/debug``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tgsyncd.playback.heads import Heads
    from tgsyncd.playback.memory import Memory
    from tgsyncd.playback.pieces import Layout
    from tgsyncd.playback.policy import Playhead
    from tgsyncd.playback.shelf import Shelf


def report_holdings(memory: Memory, disk: Shelf, heads: Heads) -> dict[str, object]:
    """Return how much is kept where."""
    flights = list(memory)
    return {
        "fetches_now": sum(not flight.is_landed for flight in flights),
        "memory": {
            "limit_bytes": memory.limit_bytes,
            "used_bytes": memory.used_bytes,
            "segments": len(flights),
            "evictions": memory.evictions,
        },
        "disk": _report_shelf(disk),
        "heads": _report_shelf(heads.shelf),
    }


def report_stream_holdings(
    layout: Layout, *, memory: Memory, disk: Shelf, heads: Heads, playheads: Iterable[Playhead]
) -> dict[str, object]:
    """Return what is kept of one stream: orders of segments (-1 is the initialization section), and bytes."""
    flights = [flight for flight in memory if flight.stream == layout.stream]
    on_disk = [piece for piece in layout.pieces if piece.key in disk]
    return {
        "in_memory": sorted(flight.piece.order or 0 for flight in flights if flight.is_landed),
        "on_their_way": [
            {"segment": flight.piece.order, "bytes": flight.filled_bytes, "of": flight.piece.size_bytes}
            for flight in flights
            if not flight.is_landed
        ],
        "on_disk": [piece.order for piece in on_disk],
        "disk_bytes": sum(piece.size_bytes for piece in on_disk),
        "pinned_bytes": sum(heads.length(piece) for piece in layout.pieces if heads.holds(piece)),
        "viewers_at": sorted(head.order for head in playheads if head.stream == layout.stream),
    }


def _report_shelf(shelf: Shelf) -> dict[str, object]:
    return {
        "limit_bytes": shelf.limit_bytes,
        "used_bytes": shelf.used_bytes,
        "files": len(shelf),
        "evictions": shelf.evictions,
    }
