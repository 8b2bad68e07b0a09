# SPDX-License-Identifier: MIT
"""The jobs by which ``tgsyncd run`` looks after itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tgsyncd.catalog.backups import backup_name
from tgsyncd.daemon import UploadOptions
from tgsyncd.errors import CatalogError
from tgsyncd.service.statistics import append_line, describe, read_lines, take_stock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.daemon import Application
    from tgsyncd.ports import Clock

__all__ = ["Housekeeping"]

_log = Logger()

WATCHED_RETRY_S = 300.0
WATCHED_PATIENCE_S = 6 * 3600.0
"""A check waits so long for the last viewer, and then for its next time."""


class Housekeeping:
    """Cleanup, deletions owed, backups, integrity, VACUUM; each returns in words what it did."""

    def __init__(
        self,
        app: Application,
        *,
        reactor: Any,
        clock: Clock,
        is_watched: Callable[[], bool],
        count_failures: Callable[[], int] = lambda: 0,
    ) -> None:
        self._count_failures = count_failures
        self._app = app
        self._reactor = reactor
        self._clock = clock
        self._is_watched = is_watched

    async def cleanup(self) -> str:
        """Free replaced revisions and what nobody needs."""
        report = await self._app.cleanup(self._app.config.jobs.cleanup_keep / 3600)
        return (
            f"{report.revisions_deleted} replaced revisions, {report.documents_deleted} documents deleted, "
            f"{report.documents_owed} still owed"
        )

    async def deletions(self) -> str:
        """Ask the store again for the deletions that it owes."""
        if not (self._app.catalog.owed_deletions(1) or self._app.catalog.intents()):
            return "none owed"
        deleted, owed = await self._app.settle_deletions()
        return f"{deleted} documents deleted, {owed} still owed"

    async def releases(self) -> str:
        """Move or delete source files that a kill, or trouble, left standing (``after_publish``)."""
        counts = {"done": 0, "kept": 0, "later": 0}
        for video_id, number in self._app.catalog.owed_source_releases():
            revision = self._app.catalog.revision(video_id, number)
            if revision is not None:
                options = self._app.ingest_options(Path(revision.source.path), UploadOptions())
                outcome = await self._app.releaser.release(video_id, number, options.release)
                counts[outcome.what] += 1
        if not any(counts.values()):
            return "none owed"
        return (
            f"{counts['done']} source files moved or deleted, {counts['kept']} kept, {counts['later']} later"
        )

    async def backup(self) -> str:
        """Copy the catalog, checked; keep the newest copies."""
        folder = self._app.config.data_dir / "backups"
        await deferToThread(folder.mkdir, mode=0o700, exist_ok=True)
        copy = folder / backup_name(self._clock.now_s())
        await self._app.catalog.backup_to(copy)
        removed = await deferToThread(_keep_newest, folder, self._app.config.jobs.backup_keep)
        return f"{copy.name}, {removed} old copies removed"

    async def statistics(self) -> str:
        """Write the numbers of the day down, and what became of them since the last."""
        path = self._app.config.data_dir / "statistics.jsonl"
        line = take_stock(
            self._app.catalog.stats(),
            now_s=self._clock.now_s(),
            failed=self._count_failures(),
            cache=self._app.engine.report(),
        )
        earlier = await deferToThread(read_lines, path)
        await deferToThread(append_line, path, earlier, line)
        words = describe(line, earlier[-1] if earlier else None)
        _log.info("statistics: {words}", words=words)
        return words

    async def integrity(self) -> str:
        """Check the catalog thoroughly. Raises CatalogError with what is wrong."""
        if not await self._wait_for_the_last_viewer():
            return "not done: somebody watches"
        findings = await self._app.catalog.integrity_check()
        if findings:
            raise CatalogError(
                f"the catalog is damaged: {'; '.join(findings[:3])}",
                hint="stop tgsyncd, and go back to a copy: tgsyncd catalog restore --latest",
            )
        return "sound"

    async def vacuum(self) -> str:
        """Give the catalog's unused space back."""
        if not await self._wait_for_the_last_viewer():
            return "not done: somebody watches"
        return f"{await self._app.catalog.vacuum()} bytes given back"

    async def _wait_for_the_last_viewer(self) -> bool:
        until_s = self._clock.now_s() + WATCHED_PATIENCE_S
        while self._is_watched():
            if self._clock.now_s() >= until_s:
                return False
            await task.deferLater(self._reactor, WATCHED_RETRY_S)
        return True


def _keep_newest(folder: Path, count: int) -> int:
    copies = sorted(folder.glob("catalog-*.sqlite3"))
    surplus = copies[:-count]
    for copy in surplus:
        copy.unlink(missing_ok=True)
    return len(surplus)
