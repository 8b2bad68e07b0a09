# SPDX-License-Identifier: MIT
"""PURE. Say in words what a scan would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tgsyncd.ingest.watching import Resting, choose_files, find_vanished, judge_vanished
from tgsyncd.model import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.ingest.watching import FoundFile, Walk
    from tgsyncd.model import KnownSource

__all__ = ["Foreseen", "foresee"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What would become of one file, or of a whole folder that cannot be believed."""

    path: str
    what: Literal["new", "changed", "unfinished", "unpublished", "waits", "gone", "doubt"]
    words: str


def foresee(
    walk: Walk,
    known: Sequence[KnownSource],
    *,
    now_s: float,
    rest_s: float,
    wait_for_holes: bool,
    on_source_removed: str,
) -> list[Foreseen]:
    """
    Return what a scan of this folder would do, by path. What is stored and unchanged is not named.

    A new file may turn out to be a known one that was moved: its contents are compared only then.
    """
    by_path = {source.path: source for source in known}
    foreseen = [
        _foresee_file(file, by_path.get(file.path), now_s, rest_s, wait_for_holes=wait_for_holes)
        for file in choose_files(walk.files, by_path)
    ]
    # What we moved or deleted ourselves is not gone.
    there = [source for source in known if not source.is_released]
    below = sum(source.path.startswith(walk.root.rstrip("/") + "/") for source in there)
    verdict = judge_vanished(walk, find_vanished(walk, there), below)
    if verdict.doubt:
        words = f"{verdict.doubt}; nothing is withdrawn or deleted"
        foreseen.append(Foreseen(path=walk.root, what="doubt", words=words))
    words = {"withdraw": "its video is withdrawn", "delete": "its video is deleted"}.get(
        on_source_removed, "its video is kept"
    )
    foreseen += [
        Foreseen(path=source.path, what="gone", words=f"gone: {words}")
        for source in verdict.gone
        if on_source_removed == "keep" or source.is_published
    ]
    return sorted(foreseen, key=lambda each: each.path)


def _foresee_file(
    file: FoundFile, source: KnownSource | None, now_s: float, rest_s: float, *, wait_for_holes: bool
) -> Foreseen:
    wait_s = Resting(rest_s).observe(file, now_s)
    if file.has_holes and wait_for_holes:
        return Foreseen(path=file.path, what="waits", words="waits until it has no holes (scan.holes)")
    if wait_s > 0:
        return Foreseen(path=file.path, what="waits", words=f"changed a moment ago, waits {wait_s:.0f} s")
    if source is None:
        return Foreseen(path=file.path, what="new", words="new: is stored and published")
    if (source.size_bytes, source.mtime_ns) != (file.size_bytes, file.mtime_ns):
        return Foreseen(path=file.path, what="changed", words=f"changed: replaces {source.video_id}")
    if source.stage is Stage.PUBLISHED:
        return Foreseen(path=file.path, what="unpublished", words=f"{source.video_id} is published again")
    after = f"after {source.attempts} failures" if source.attempts else f"stage {source.stage.value}"
    return Foreseen(path=file.path, what="unfinished", words=f"goes on with {source.video_id} ({after})")
