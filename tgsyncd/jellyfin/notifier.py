# SPDX-License-Identifier: MIT
"""
``ports.LibraryNotifier`` for Jellyfin: says what changed, in one call for what gathers in a few seconds.

Nothing here delays an ingest: ``notify`` notes paths and returns. A daemon keeps what is noted in a file
(``resume``), so that a Jellyfin that is down is told after a restart too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from tgsyncd.bridge import start
from tgsyncd.jellyfin.client import JellyfinError
from tgsyncd.jellyfin.memory import Kept
from tgsyncd.jellyfin.outage import Outage
from tgsyncd.jellyfin.paced import Paced
from tgsyncd.jellyfin.prober import Prober
from tgsyncd.jellyfin.settings import spare_sidecars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from tgsyncd.jellyfin.client import JellyfinClient
    from tgsyncd.jellyfin.memory import Memory
    from tgsyncd.jellyfin.settings import JellyfinSettings

__all__ = ["JellyfinNotifier"]

_log = Logger()

MAX_PATHS_PER_CALL = 1000

LAST_CALL_S = 3.0
"""A stop takes 10 s at most."""

MAX_PENDING = 20_000
"""Paths that wait for a Jellyfin that is down; above it their libraries are told as a whole."""


class JellyfinNotifier:
    """Tells one Jellyfin. ``clock`` drives all waiting; nothing runs before the first ``notify``."""

    def __init__(self, settings: JellyfinSettings, client: JellyfinClient, clock: IReactorTime) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._outage = Outage()
        self._pending: dict[str, bool] = {}
        self._announce_at_s: float | None = None
        self._memory: Memory | None = None
        self._prober = Prober(client, first_look_s=settings.first_look_s)
        # Two, because probing 500 videos takes an hour that no announcement shall wait.
        self._announcing = Paced(
            self._announce, lambda: self._announce_at_s, outage=self._outage, clock=clock
        )
        self._probing = Paced(
            self._probe,
            self._prober.next_due_s,
            outage=self._outage,
            clock=clock,
        )

    async def notify(self, paths: Sequence[Path], *, removed: bool = False) -> None:
        """Announce paths, a few seconds later and together with others. Never raises."""
        if not paths:
            return
        for path in paths:
            self._pending[self._settings.their_path(path)] = removed
        if len(self._pending) > MAX_PENDING:
            self._pending = dict.fromkeys((mapping.theirs for mapping in self._settings.mappings), False)
        self._keep()
        self._announce_soon()

    def resume(self, memory: Memory) -> None:
        """Go on with what an earlier daemon left in ``memory``, and keep there what is still to be told."""
        kept = memory.load()
        self._memory = memory
        self._pending = {**kept.pending, **self._pending}
        if self._settings.probe_after_publish:
            self._prober.add(kept.wanted, now_s=self._clock.seconds())
        if self._pending:
            self._announce_soon()
        self._probing.schedule()
        self._keep()

    @property
    def is_down(self) -> bool:
        """Whether Jellyfin did not answer the last call."""
        return self._outage.is_on

    @property
    def waiting(self) -> int:
        """How many changes are not told yet, and how many videos Jellyfin has yet to look into."""
        return len(self._pending) + self._prober.waiting

    async def close(self) -> None:
        """
        Stop: no timer and no request is left. What is pending is told now, if Jellyfin answers in 3 s.

        An upload by hand ends before its changes have gathered.
        """
        self._announcing.stop()
        self._probing.stop()
        if self._pending and not self._outage.is_on:
            await self._announce_last()
        if self._memory is not None:
            await self._memory.save(self._kept())

    async def _announce_last(self) -> None:
        last = Deferred.fromCoroutine(self._announce())
        last.addTimeout(LAST_CALL_S, self._clock)
        try:
            await last
        except (JellyfinError, DeferredTimeout, CancelledError):
            later = "its own scan finds them" if self._memory is None else "it is told after the next start"
            _log.info("Jellyfin does not answer and was not told of the last changes; {later}", later=later)

    def _announce_soon(self) -> None:
        if self._announce_at_s is None:
            self._announce_at_s = self._clock.seconds() + self._settings.gather_s
        self._announcing.schedule()

    def _kept(self) -> Kept:
        return Kept(pending=dict(self._pending), wanted=tuple(self._prober.paths))

    def _keep(self) -> None:
        if self._memory is not None:
            start(self._memory.save(self._kept()), _note_failure)

    async def _probe(self) -> None:
        try:
            await self._prober.work(self._clock.seconds())
        finally:
            self._keep()

    async def _announce(self) -> None:
        while self._pending:
            self._pending = {path: self._pending[path] for path in spare_sidecars([*self._pending])}
            batch = dict(list(self._pending.items())[:MAX_PATHS_PER_CALL])
            await self._client.report_changes(
                [path for path, removed in batch.items() if not removed],
                removed=[path for path, removed in batch.items() if removed],
            )
            for path, removed in batch.items():
                # What changed again meanwhile is told again.
                if self._pending.get(path) == removed:
                    del self._pending[path]
            self._look_into(batch)
            self._keep()
        self._announce_at_s = None

    def _look_into(self, batch: dict[str, bool]) -> None:
        if not self._settings.probe_after_publish:
            return
        new = [path for path, removed in batch.items() if path.endswith(".strm") and not removed]
        self._prober.add(new, now_s=self._clock.seconds())
        self._prober.forget(path for path, removed in batch.items() if removed)
        self._probing.schedule()


def _note_failure(failure: Failure) -> None:
    _log.failure("what Jellyfin is to be told was not kept", failure=failure)
