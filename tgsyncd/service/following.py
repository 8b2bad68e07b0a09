# SPDX-License-Identifier: MIT
"""Who wants to know what becomes of a file in the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from tgsyncd.daemon import UploadOutcome
from tgsyncd.errors import SourceUnreadable, TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.ingest.work import IngestOutcome, Progress

__all__ = ["Following"]


@dataclass(slots=True, eq=False)
class _Follower:
    tell: Callable[[Progress], None]
    ended: Deferred[UploadOutcome] = field(default_factory=Deferred)


class Following:
    """Who wants to know what becomes of which file."""

    def __init__(self) -> None:
        self._followers: dict[str, list[_Follower]] = {}

    def follow(self, path: str, tell: Callable[[Progress], None]) -> Deferred[UploadOutcome]:
        """Return a Deferred of the file's next outcome."""
        follower = _Follower(tell)
        self._followers.setdefault(path, []).append(follower)
        return follower.ended

    def show(self, progress: Progress) -> None:
        """Tell how far a file has come."""
        for follower in self._followers.get(str(progress.path), ()):
            follower.tell(progress)

    def stored(self, path: str, outcome: IngestOutcome) -> None:
        """Tell that a file is stored."""
        self._end(path, UploadOutcome(path=Path(path), outcome=outcome))

    def failed(self, path: str, error: Exception, *, again_in_s: float | None = None) -> None:
        """Tell that a file is not stored, and whether the daemon will try again."""
        if path not in self._followers:
            return
        known = error if isinstance(error, TgsyncdError) else TgsyncdError(str(error) or type(error).__name__)
        if again_in_s is not None:
            hint = f"the daemon tries again in {again_in_s:.0f} s"
            hint = f"{known.hint}; {hint}" if known.hint else hint
            told = type(known)(known.message, hint=hint)
        else:
            told = known
        self._end(path, UploadOutcome(path=Path(path), error=told))

    def vanished(self, path: str) -> None:
        """Tell that a waiting file is gone."""
        self.failed(path, SourceUnreadable(f"{path} is gone, or empty"))

    def _end(self, path: str, outcome: UploadOutcome) -> None:
        for follower in self._followers.pop(path, ()):
            follower.ended.callback(outcome)
