# SPDX-License-Identifier: MIT
"""What the cache saw of each segment: for ``cache_metadata``, once a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from twisted.internet.defer import Deferred

    from tgsyncd.model import VideoId
    from tgsyncd.playback.pieces import Layout, Piece

    RecordUses = Callable[[Sequence["SegmentUse"]], Coroutine[Deferred[Any], Any, None]]


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
    """
    The uses of segments, by place.

    ``record`` writes them down: kept in memory and told now and then, never for each request.
    """

    _log = Logger()

    def __init__(self, record: RecordUses) -> None:
        self._record = record
        self._uses: dict[tuple[str, int | None], SegmentUse] = {}
        self._unrecorded = 0

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

    async def flush(self) -> None:
        """Have what was seen recorded, and forget it."""
        uses, self._uses = list(self._uses.values()), {}
        if not uses:
            return
        try:
            await self._record(uses)
        except Exception as error:  # noqa: BLE001 (statistics; what matters is said where it matters)
            self._unrecorded += 1
            if self._unrecorded & (self._unrecorded - 1) == 0:  # each minute of a full disk would be a line
                self._log.warn("what the cache counted was not recorded: {error}", error=error)
        else:
            self._unrecorded = 0
