# SPDX-License-Identifier: MIT
"""SIGHUP: read the configuration again and obey what can change while running."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from twisted.logger import Logger

from tgsyncd.errors import TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tgsyncd.config.schema import Config
    from tgsyncd.service.service import Service

__all__ = ["LIVE", "reload", "reload_on_sighup", "sections_that_differ"]

_log = Logger()

LIVE = (
    "scan", "publish", "libraries", "ingest", "upload", "jobs", "jellyfin",
    "video", "segments", "documents", "spool", "verify",
)  # fmt: skip
"""Sections that are obeyed at once, except for ``FIXED``; how videos are stored, from the next video on."""
FIXED = {"scan": ("inotify",), "ingest": ("parallel",)}


def reload_on_sighup(service: Service, load: Callable[[], Config], *, reactor: Any) -> None:
    """Reload at each SIGHUP from now on."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(reload, service, load)

    signal.signal(signal.SIGHUP, on_signal)


def reload(service: Service, load: Callable[[], Config]) -> None:
    """Read the configuration again; one that is wrong changes nothing. Says what needs a restart."""
    service.notifier.reloading(time.monotonic_ns() // 1000)
    try:
        new = load()
    except TgsyncdError as error:
        words = "; ".join(line.strip() for line in str(error).splitlines())
        _log.error("the configuration is not read again: {error}", error=words)
    else:
        old = service.app.config
        obeyed, waiting = sections_that_differ(old, new)
        service.reconfigure(_obeyed(old, new))
        _log.info(
            "configuration read again; changed: {obeyed}; needs a restart: {waiting}",
            obeyed=", ".join(obeyed) or "nothing", waiting=", ".join(waiting) or "nothing",
        )  # fmt: skip
    service.notifier.ready()


def _obeyed(old: Config, new: Config) -> Config:
    """Return the configuration with all that changes at once, and what is fixed as it was."""
    changes: dict[str, Any] = {name: getattr(new, name) for name in LIVE}
    for name, keys in FIXED.items():
        fixed = {key: getattr(getattr(old, name), key) for key in keys}
        changes[name] = changes[name].model_copy(update=fixed)
    return old.model_copy(update=changes)


def sections_that_differ(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return what changes at once, and what needs a restart."""
    obeyed, waiting = [], []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        fixed = [
            f"{name}.{key}" for key in FIXED.get(name, ()) if getattr(before, key) != getattr(after, key)
        ]
        waiting += fixed
        if name not in LIVE:
            waiting.append(name)
        elif not isinstance(before, BaseModel) or not fixed or len(fixed) < _changes(before, after):
            obeyed.append(name)
    return obeyed, waiting


def _changes(before: Any, after: Any) -> int:
    return sum(getattr(before, key) != getattr(after, key) for key in type(before).model_fields)
