# SPDX-License-Identifier: MIT
"""
From a range of a stream to its bytes: the seam between the HTTP side and everything behind it.

A store on a local disk is read directly. Before any other stands the cache (``cache.py``): one fetch for all
who ask, reading ahead, memory, disk and pinned heads. docs/playback.md has the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.errors import StoreError
from tgsyncd.playback.cache import CacheSettings, SegmentCache
from tgsyncd.playback.holding import held
from tgsyncd.playback.precedence import Precedence
from tgsyncd.playback.upstream import Patience, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path
    from typing import Any

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.model import DocumentRef, Rendition, VideoId
    from tgsyncd.playback.pieces import Piece
    from tgsyncd.playback.shelf import InThread
    from tgsyncd.playback.spans import FileSpan
    from tgsyncd.playback.uses import RecordUses, SegmentUse
    from tgsyncd.ports import CatalogReader, Clock, Store

__all__ = ["CacheSettings", "Engine", "Patience"]


class Engine:
    """
    Reads streams.

    ``cache`` None reads the store directly, which is right for a local one. ``ask_ahead`` is told of
    documents that will be read soon, ``record_uses`` once a minute what the cache saw. ``clock`` and
    ``in_thread`` are the reactor's unless they are given.
    """

    _log = Logger()

    def __init__(
        self,
        reader: CatalogReader,
        store: Store,
        reactor: IReactorTime,
        *,
        patience: Patience | None = None,
        cache: CacheSettings | None = None,
        clock: Clock | None = None,
        in_thread: InThread | None = None,
        ask_ahead: Callable[[DocumentRef], None] | None = None,
        record_uses: RecordUses | None = None,
    ) -> None:
        self._reader = reader
        self._reactor = reactor
        self._upstream = Upstream(reader, store, reactor, patience=patience or Patience())
        self._cache: SegmentCache | None = None
        self._precedence = Precedence(
            reactor, lambda: 0 if self._cache is None else self._cache.count_waiting()
        )
        if cache is not None:
            self._cache = SegmentCache(
                cache,
                reader=reader,
                upstream=self._upstream,
                reactor=reactor,
                clock=clock or _ReactorClock(reactor),
                in_thread=in_thread or _threads_of(reactor),
                ask_ahead=ask_ahead or (lambda _: None),
                record_uses=record_uses or _forget,
            )

    @property
    def verifies(self) -> bool:
        """Whether the last bytes of a whole segment are held back until its sha256 matched."""
        return self._cache is not None

    def open(
        self, rendition: Rendition, start: int, stop: int, *, viewer: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """
        Yield the stream's bytes ``[start, stop)`` in order, in chunks of at most 256 KiB.

        Nothing is read ahead of the consumer but what others share; ``aclose()`` frees everything. The
        chunks add up to exactly ``stop - start`` bytes, or an error is raised. A store that does not answer
        for now is asked again, from the byte reached, until the patience ends. ``viewer`` is the client's
        address, where known.

        Raises
            StoreUnavailable, DocumentMissing, DocumentCorrupt when patience ended; DocumentCorrupt at once
            when something wrong was yielded; StoreRefused, VideoGone at once.
        """
        # Without spans there are none.
        return cast(
            "AsyncGenerator[bytes, None]", self._open(rendition, start, stop, viewer=viewer, spans=False)
        )

    def open_spans(
        self, rendition: Rendition, start: int, stop: int, *, viewer: str = ""
    ) -> AsyncGenerator[bytes | FileSpan, None]:
        """
        Yield the stream's bytes like ``open``, those that are in a file as they lie there.

        For who can have the kernel send them. A span's file is open until the next one is asked for.
        """
        return self._open(rendition, start, stop, viewer=viewer, spans=True)

    def _open(
        self, rendition: Rendition, start: int, stop: int, *, viewer: str, spans: bool
    ) -> AsyncGenerator[bytes | FileSpan, None]:
        upstream, cache = self._upstream, self._cache

        def open_from(position: int) -> AsyncGenerator[bytes | FileSpan, None]:
            if cache is None:
                return upstream.open(rendition, position, stop)
            return cache.open(rendition, position, stop, viewer, spans=spans)

        return held(open_from, start, stop, reactor=self._reactor, held_s=upstream.patience.lost_s)

    def at_hand(
        self, rendition: Rendition, order: int, *, viewer: str = ""
    ) -> tuple[Piece, AsyncGenerator[FileSpan, None]] | None:
        """
        Return a whole segment, with its span, if it can be sent without waiting for anything.

        None where it has to be opened with ``open_spans`` first. The span's file is open until the generator
        goes on or is closed.
        """
        return None if self._cache is None else self._cache.at_hand(rendition, order, viewer)

    def lost_orders(self, rendition: Rendition) -> frozenset[int]:
        """Return which segments cannot be had, as far as was found out: the next viewer passes over them."""
        lost, cache = self._upstream.lost, self._cache
        if not lost:
            return frozenset()
        return lost.orders(
            self._reader.segments(rendition.rendition_id),
            self._reader.documents(rendition.rendition_id),
            lambda sha256: cache is not None and cache.is_here(sha256),
        )

    async def pin(self, rendition: Rendition) -> None:
        """Bring the beginning of a stream to local disk, if that is wanted and it is not there."""
        if self._cache is not None:
            await self._cache.pin(rendition)

    async def pin_video(self, video_id: VideoId, revision: int) -> None:
        """Pin all streams of a revision. What cannot be had now is pinned when it is first played."""
        for rendition in self._reader.renditions(video_id, revision):
            try:
                await self.pin(rendition)
            except StoreError as error:
                self._log.warn("{video_id}: not pinned yet: {error}", video_id=video_id, error=error)

    async def keep_first(self, path: Path, number: int, sha256: str) -> None:
        """Copy a document that is being stored, if its stream's head will be cut off it."""
        if self._cache is not None:
            await self._cache.keep_first(path, number, sha256)

    async def give_way(self, limit_s: float) -> float:
        """
        Wait while somebody waits for bytes to play, at most ``limit_s``; return how many seconds it was.

        For whoever uses the same line and can wait: uploads, verification, maintenance.
        """
        return await self._precedence.give_way(limit_s)

    async def clean(self, used_before_s: float) -> tuple[int, int]:
        """Remove what was last used before this from the disk cache; return how many segments and bytes."""
        return (0, 0) if self._cache is None else await self._cache.clean(used_before_s)

    def report(self) -> dict[str, object]:
        """Return status and statistics of the cache, for JSON; nothing when there is none."""
        if self._cache is None:
            return {}
        return {**self._cache.report(), "ingest_waited_s": round(self._precedence.waited_s, 3)}

    def report_stream(self, rendition: Rendition) -> dict[str, object]:
        """Return what the cache holds of a stream, and which segments are lost, for JSON."""
        kept = {} if self._cache is None else self._cache.report_stream(rendition)
        return {**kept, "lost": sorted(self.lost_orders(rendition))}

    async def close(self) -> None:
        """Give up what is under way."""
        if self._cache is not None:
            await self._cache.close()


class _ReactorClock:
    """The real reactor's time is the wall clock's."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def now_s(self) -> float:
        return self._reactor.seconds()


def _threads_of(reactor: Any) -> InThread:
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)


async def _forget(_uses: Sequence[SegmentUse]) -> None:
    """Nobody wants to know."""
