# SPDX-License-Identifier: MIT
"""What Jellyfin has yet to be told, kept over restarts: it may be down for longer than we run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tgsyncd.durable import fsync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Kept", "Memory"]

_log = Logger()
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Paths as Jellyfin sees them. All of it may be lost: then Jellyfin's own scan finds what is new."""

    pending: Mapping[str, bool] = field(default_factory=dict)
    """What is to be announced, and whether it was removed."""
    wanted: tuple[str, ...] = ()
    """Videos that Jellyfin has yet to look into."""


class Memory:
    """A JSON file, replaced atomically in a thread; one write at a time, of what is true when it begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: Kept | None = None
        self._lock = DeferredLock()
        self._was_told = False

    def load(self) -> Kept:
        """Read the file; one that is missing, torn or foreign counts as empty."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if data["version"] != _VERSION:
                return Kept()
            return Kept(
                pending={str(path): bool(removed) for path, removed in data["pending"].items()},
                wanted=tuple(str(path) for path in data["wanted"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Kept()

    async def save(self, kept: Kept) -> None:
        """Replace the file, unless something newer is saved at once. Never raises."""
        self._next = kept
        await self._lock.acquire()
        try:
            newest, self._next = self._next, None
            if newest is not None:
                is_written = await deferToThread(self._replace, newest)
                self._was_told = self._was_told and not is_written
        except OSError as error:
            if not self._was_told:
                self._was_told = True
                _log.warn(
                    "what Jellyfin is not told yet will not survive a restart: {why}", why=error.strerror
                )
        finally:
            self._lock.release()

    def _replace(self, kept: Kept) -> bool:
        if not kept.pending and not kept.wanted:
            self._path.unlink(missing_ok=True)
            return False
        data = {"version": _VERSION, "pending": dict(kept.pending), "wanted": list(kept.wanted)}
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(data, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            fsync_folder(self._path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return True
