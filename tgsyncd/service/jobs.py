# SPDX-License-Identifier: MIT
"""Which jobs ``tgsyncd run`` has, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgsyncd.config.schema import Config
    from tgsyncd.schedule import Schedule
    from tgsyncd.service.examining import Examining
    from tgsyncd.service.housekeeping import Housekeeping
    from tgsyncd.service.removal import Removal
    from tgsyncd.service.watcher import Watcher

__all__ = ["plan_jobs"]


def plan_jobs(
    schedule: Schedule,
    config: Config,
    *,
    watcher: Watcher,
    removal: Removal,
    housekeeping: Housekeeping,
    examining: Examining,
) -> None:
    """Give every job its times. Raises ConfigError for crontab fields that mean nothing."""
    every_s, cron = config.scan.interval, config.scan.cron
    schedule.add("scan", watcher.scan, every_s=every_s, cron=cron)
    schedule.add("published", removal.check_published, every_s=every_s, cron=cron)
    schedule.add("releases", housekeeping.releases, every_s=every_s, cron=cron)
    schedule.add("reconcile", examining.reconcile, cron=config.jobs.reconcile)
    for name in ("cleanup", "deletions", "backup", "integrity", "vacuum", "statistics"):
        schedule.add(name, getattr(housekeeping, name), cron=getattr(config.jobs, name))
