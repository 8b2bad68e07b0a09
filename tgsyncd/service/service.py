# SPDX-License-Identifier: MIT
"""The daemon: everything that ``tgsyncd run`` keeps going, its start and its stop."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from tgsyncd.assembly import (
    WallClock,
    build_notifier,
    jellyfin_settings,
    make_private,
    pipeline_settings,
    upload_limit,
)
from tgsyncd.bridge import start
from tgsyncd.catalog.lock import CatalogLock
from tgsyncd.daemon import Application
from tgsyncd.errors import NotFound, TgsyncdError
from tgsyncd.jellyfin.memory import Memory
from tgsyncd.schedule import Schedule
from tgsyncd.service.addresses import rotate
from tgsyncd.service.control import Control
from tgsyncd.service.examining import Examining
from tgsyncd.service.handing import Handing
from tgsyncd.service.health import Health
from tgsyncd.service.housekeeping import Housekeeping
from tgsyncd.service.ingesting import Ingesting
from tgsyncd.service.jobs import plan_jobs
from tgsyncd.service.kernel import KernelHints
from tgsyncd.service.queue import IngestQueue
from tgsyncd.service.rarely import Rarely
from tgsyncd.service.reaching import Reaching
from tgsyncd.service.removal import Removal
from tgsyncd.service.restored import settle_restored
from tgsyncd.service.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

    from tgsyncd.config.schema import Config
    from tgsyncd.jellyfin.notifier import JellyfinNotifier
    from tgsyncd.model import VideoId
    from tgsyncd.notify import Notifier

__all__ = ["Service"]

_log = Logger()

DRAIN_S = 4.0
"""Answers under way may go on for so long when we stop."""
RECOVER_AGAIN_S = 60.0
GONE_SETTLE_S = 5.0
"""A file that is gone is looked for by a scan so long after the last such event."""


class Service:
    """One running daemon."""

    def __init__(self, app: Application, lock: CatalogLock, *, reactor: Any, notifier: Notifier) -> None:
        self.app = app
        self._lock = lock
        self._reactor = reactor
        self.notifier = notifier
        self.clock = WallClock(reactor)
        self.started_at_s = self.clock.now_s()
        self.queue = IngestQueue(reactor, now_s=self.clock.now_s, order=app.config.ingest.order)
        self.ingesting = Ingesting(app, self.queue, clock=self.clock)
        self.removal = Removal(app, reactor=reactor)
        # Threads of its own: a file server that hangs must not take those that name lookups need.
        self._pool = ThreadPool(minthreads=0, maxthreads=2, name="watcher")
        self.watcher = Watcher(
            app, self.queue, self.ingesting, self.removal,
            reactor=reactor, pool=self._pool, clock=self.clock,
        )  # fmt: skip
        self.kernel = KernelHints(self.watcher, reactor=reactor, on_gone=self._note_gone)
        self.watcher.after_scan = lambda: self.kernel.watch_the_rest(self.app.config.libraries)
        self.housekeeping = Housekeeping(
            app, reactor=reactor, clock=self.clock, is_watched=lambda: app.is_watched,
            count_failures=lambda: len(self.ingesting.failures),
        )  # fmt: skip
        self.examining = Examining(app, reactor=reactor)
        self.schedule = Schedule(self.clock)
        self.reaching = Reaching(app.store, reactor=reactor, now_s=self.clock.now_s)
        self.health = Health(
            app.catalog, app.config.data_dir, notifier, reactor=reactor, status_line=self.status_line
        )
        self.handing = Handing(app, self.queue, self.ingesting, reactor=reactor)
        self._control = Control(
            app.config.data_dir / "control.sock", reactor=reactor, status=self.status, run_job=self.run_job,
            rotate=self.rotate, long={
                "upload": self.handing.upload, "scan": self._scan_now,
                "check": self.examining.check, "repair": self.examining.repair,
            },
        )  # fmt: skip
        app.report_service = self.status
        self._gone_timer: IDelayedCall | None = None
        self._beginning: Deferred[None] | None = None

    @classmethod
    async def open(cls, reactor: Any, config: Config, *, notifier: Notifier) -> Self:
        """
        Take the catalog for ourselves and open everything.

        Raises Refused, with the other's pid, when another daemon or upload works on the catalog; also
        CatalogError, CatalogNewer, ConfigError.
        """
        make_private(config.data_dir)
        lock = CatalogLock(config.catalog_path)
        lock.acquire()
        try:
            app = await Application.open(reactor, config)
        except BaseException:
            lock.release()
            raise
        return cls(app, lock, reactor=reactor, notifier=notifier)

    async def start(self, *, host: str, port: int, sockets: Sequence[int] = ()) -> int:
        """
        Serve and begin to work; return the port. Raises ConfigError when the port is taken.

        ``sockets``, which systemd opened, win over the address.

        We are ready when we serve: recovery and scans, which may take long, come after that.
        """
        self._pool.start()
        self._plan_jobs()
        taken = await self.app.listen(host=host, port=port, sockets=sockets)
        self.schedule.start()
        self.health.start()
        self.reaching.start()
        self._control.listen()
        whose = " (the socket is systemd's)" if sockets else ""
        _log.info("listening on {host}, port {port}{whose}", host=host, port=taken, whose=whose)
        self.notifier.ready()
        self._beginning = start(
            self._begin_work(), lambda failure: _log.failure("the start failed", failure=failure)
        )
        return taken

    async def stop(self) -> None:
        """Interrupt uploads so that they can be resumed, let answers end, close everything. Within 10 s."""
        self.notifier.stopping()
        self.notifier.status("stopping")
        if self._gone_timer is not None and self._gone_timer.active():
            self._gone_timer.cancel()
        if self._beginning is not None:
            self._beginning.cancel()
        self.kernel.stop()
        self.watcher.stop()
        self.reaching.stop()
        await self._control.stop()
        await self.app.stop_listening()
        await self.schedule.stop()
        await self.ingesting.stop()
        await self._drain()
        self.health.stop()
        try:
            await self.app.close()
        finally:
            self._lock.release()
            self._pool.stop()

    async def _begin_work(self) -> None:
        await self._recover()
        if self.app.config.scan.inotify:
            await self.kernel.watch(self.app.config.libraries)
        if self.app.notifier is not None:
            self.app.notifier.resume(self._jellyfin_memory())
        await self.schedule.run_now("published")
        await self.schedule.run_now("releases")
        await self.handing.resume()
        self.ingesting.start()
        await self.schedule.run_now("scan")

    async def _recover(self) -> None:
        """Clear up after a kill; until that is done nothing is stored, for it could be stored twice."""
        rarely = Rarely()
        while True:
            try:
                await self.app.recover()
                await settle_restored(self.app, reactor=self._reactor)
            except TgsyncdError as error:
                if rarely.is_due(""):
                    _log.warn(
                        "nothing is stored until the store was asked about uploads: {error}", error=error
                    )
                await deferLater(self._reactor, RECOVER_AGAIN_S)
            else:
                return

    def reconfigure(self, config: Config) -> None:
        """Obey another configuration from the next file and the next scan on."""
        before, self.app.config = self.app.config, config
        self.app.pipeline.tools = dataclasses.replace(
            self.app.pipeline.tools, settings=pipeline_settings(config)
        )
        if self.app.throttle is not None:
            self.app.throttle.limit = upload_limit(config, self.clock)
        if jellyfin_settings(before) != jellyfin_settings(config):
            self._tell_another_jellyfin(config)
        if (before.scan, before.jobs) != (config.scan, config.jobs):
            self._plan_jobs()
        self.queue.order = config.ingest.order
        self.queue.wake()
        self.watcher.reconfigure()
        start(self._scan_soon(), lambda failure: _log.failure("a scan failed", failure=failure))

    def _tell_another_jellyfin(self, config: Config) -> None:
        """Announce to where the configuration says now; what waits for the other one is told it first."""
        old, self.app.notifier = self.app.notifier, build_notifier(config, self._reactor)
        self.app.publisher.announce_to(self.app.notifier)
        start(
            self._hand_over(old, self.app.notifier),
            lambda failure: _log.failure("closing Jellyfin's client", failure=failure),
        )

    async def _hand_over(self, old: JellyfinNotifier | None, new: JellyfinNotifier | None) -> None:
        if old is not None:
            await old.close()
        if new is not None:
            new.resume(self._jellyfin_memory())

    def _jellyfin_memory(self) -> Memory:
        return Memory(self.app.config.data_dir / "jellyfin-state.json")

    async def run_job(self, name: str) -> Mapping[str, Any]:
        """Run a job now; return how it ended. Raises NotFound."""
        if name not in {job.name for job in self.schedule.report()}:
            raise NotFound(f"there is no job {name!r}")
        return dataclasses.asdict(await self.schedule.run_now(name))

    async def rotate(self, video_id: VideoId | None) -> Mapping[str, Any]:
        """Revoke the signed URLs of one video, or of all; write their ``.strm`` files anew."""
        return dataclasses.asdict(await rotate(self.app, video_id, reactor=self._reactor))

    def _plan_jobs(self) -> None:
        plan_jobs(
            self.schedule, self.app.config,
            watcher=self.watcher, removal=self.removal, housekeeping=self.housekeeping,
            examining=self.examining,
        )  # fmt: skip

    def _note_gone(self) -> None:
        """Scan soon: something is gone, and what came instead of it is known then as well."""
        if self._gone_timer is not None and self._gone_timer.active():
            self._gone_timer.reset(GONE_SETTLE_S)
            return
        self._gone_timer = self._reactor.callLater(
            GONE_SETTLE_S,
            lambda: start(self._scan_soon(), lambda failure: _log.failure("a scan failed", failure=failure)),
        )

    async def _scan_now(self, _question: object, _tell: object) -> Mapping[str, Any]:
        return await self.run_job("scan")

    async def _scan_soon(self) -> None:
        await self.schedule.run_now("scan")

    async def _drain(self) -> None:
        until_s = self.clock.now_s() + DRAIN_S
        while self.app.answers_under_way and self.clock.now_s() < until_s:
            await deferLater(self._reactor, 0.1)

    # --- what is happening ----------------------------------------------------------------------------

    def status_line(self) -> str:
        """Return one line for ``systemctl status``."""
        parts = []
        for path, progress in self.ingesting.current.items():
            name = progress.video_id or path.rpartition("/")[2]
            share = ""
            if progress.duration_s:
                share = f" {min(100, 100 * progress.position_s / progress.duration_s):.0f} %"
            parts.append(f"{progress.stage} {name}{share}")
        if not parts:
            parts.append("idle" if not len(self.queue) else "waiting")
        parts.append(f"{len(self.queue)} waiting")
        outage = self.reaching.outage
        if outage is not None:
            parts.append(outage.words)
        if self.ingesting.trouble is not None:
            parts.append(f"stopped by: {self.ingesting.trouble.error}")
        return ", ".join(parts)

    def status(self) -> Mapping[str, Any]:
        """Return everything that ``tgsyncd status`` shows, for JSON."""
        now_s = self.clock.now_s()
        stats, outage = self.app.catalog.stats(), self.reaching.outage
        return {
            "now": self.status_line(),
            "uptime_s": round(now_s - self.started_at_s, 1),
            "problem": self.health.problem,
            "store_silent": None if outage is None else {"since_s": outage.since_s, "reason": outage.reason},
            "videos": dict(stats.videos_by_status),
            "deletions_owed": stats.deletions_owed,
            "queue": [
                {"path": entry.file.path, "not_before_s": entry.not_before_s, "is_urgent": entry.is_urgent}
                for entry in self.queue.entries(100)
            ],
            "queue_length": len(self.queue),
            "waiting": dict(list(self.watcher.waiting.items())[:100]),
            "doubts": self.removal.doubts,
            "folders_watched": self.kernel.folder_count,
            **self.ingesting.status(),
            "jobs": [dataclasses.asdict(job) for job in self.schedule.report()],
        }
