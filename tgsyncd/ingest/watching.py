# SPDX-License-Identifier: MIT
"""PURE. What a scan means: which files are new or changed, which have rested, which are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tgsyncd.model import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from tgsyncd.model import KnownSource

__all__ = [
    "FoundFile",
    "Known",
    "Resting",
    "Verdict",
    "Walk",
    "choose_files",
    "find_vanished",
    "judge_vanished",
    "shall_look",
]

MASS_FILES = 10
MASS_SHARE = 0.1
"""More than so many and more than this share at once is no tidying up but a disk that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A video file as a scan sees it."""

    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    device: int
    has_holes: bool = False

    @property
    def state(self) -> tuple[int, int, int]:
        """What changes when somebody writes."""
        return (self.size_bytes, self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What one scan of a source folder saw."""

    root: str
    root_device: int | None
    """None: the folder is not there, or cannot be read."""
    is_empty: bool
    """Nothing at all is in it, not even a file that we would pass over."""
    files: Sequence[FoundFile]
    """Those that the rules take; of ``seen`` only those to be looked at."""
    seen: AbstractSet[str] | None = None
    """The paths of all that the rules take, where ``files`` are only some of them."""
    unreadable: tuple[str, ...] = ()
    """Folders that could not be read: what was below them is not gone."""

    @property
    def paths(self) -> AbstractSet[str]:
        """The paths of all that the rules take."""
        return {file.path for file in self.files} if self.seen is None else self.seen


class Resting:
    """
    Remembers files until their size and times have not changed for so long.

    The change time (ctime) decides, which no copying program can set back; one in the future, as a file
    server with another clock has, must be seen unchanged for the whole time.
    """

    def __init__(self, rest_s: float) -> None:
        self.rest_s = rest_s
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}

    def observe(self, file: FoundFile, now_s: float) -> float:
        """Return the seconds until the file has rested; 0 when it has, and it is forgotten then."""
        state, since_s = self._seen.get(file.path, ((), now_s))
        if state != file.state:
            changed_s = max(file.mtime_ns, file.ctime_ns) / 1e9
            since_s = changed_s if changed_s <= now_s else now_s
        wait_s = self.rest_s - (now_s - since_s)
        if wait_s <= 0:
            self._seen.pop(file.path, None)
            return 0.0
        self._seen[file.path] = (file.state, min(since_s, now_s))
        return min(wait_s, self.rest_s)

    def forget(self, path: str) -> None:
        """Forget a file that is gone."""
        self._seen.pop(path, None)


class Known(Protocol):
    """What is known of source files, by path; a dict is one."""

    def get(self, path: str, /) -> KnownSource | None:
        """Return what is known of this one."""
        ...


def choose_files(files: Iterable[FoundFile], known: Known) -> list[FoundFile]:
    """
    Return the files that the pipeline shall look at: new, changed, or unfinished and not given up.

    A published video whose files are not in the library, for its source was gone, is looked at as well.
    """
    return [file for file in files if shall_look(file, known.get(file.path))]


def shall_look(file: FoundFile, source: KnownSource | None) -> bool:
    """Tell for one file what ``choose_files`` tells for many."""
    if source is None or (source.size_bytes, source.mtime_ns) != (file.size_bytes, file.mtime_ns):
        return True
    if source.stage is Stage.PUBLISHED and (source.wanted != "published" or source.is_published):
        return False
    return not source.is_failed or source.next_attempt_at_s is not None


def find_vanished(walk: Walk, known: Iterable[KnownSource]) -> list[KnownSource]:
    """
    Return the known sources below the walk's root that it did not see.

    Not those below folders that could not be read, nor those of which a file of the same size stands
    elsewhere and is not known yet: they were probably moved, which the pipeline will find out.
    """
    seen, paths = walk.paths, set()
    missing: list[KnownSource] = []
    below = walk.root.rstrip("/") + "/"
    for source in known:
        if not source.path.startswith(below):
            continue
        paths.add(source.path)
        if source.path not in seen and not _is_below(source.path, walk.unreadable):
            missing.append(source)
    new_sizes = {file.size_bytes for file in walk.files if file.path not in paths}
    return [source for source in missing if source.size_bytes not in new_sizes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is really gone; or why nothing is believed."""

    gone: Sequence[KnownSource] = ()
    doubt: str = ""


def judge_vanished(walk: Walk, vanished: Sequence[KnownSource], known_count: int) -> Verdict:
    """Decide whether files are gone because somebody removed them, or because a disk is not there."""
    if not vanished:
        return Verdict()
    count = len(vanished)
    if walk.root_device is None:
        return Verdict(doubt=f"{walk.root} cannot be read: {count} files of it are not seen")
    if walk.is_empty:
        return Verdict(doubt=f"{walk.root} is empty: is its disk mounted? {count} files are not seen")
    if count > MASS_FILES and count > MASS_SHARE * known_count:
        return Verdict(doubt=f"{count} of {known_count} files in {walk.root} are gone at once")
    elsewhere = [source for source in vanished if source.device != walk.root_device]
    if elsewhere:
        return Verdict(
            doubt=f"{len(elsewhere)} files are gone that were on another file system than {walk.root} is now"
        )
    return Verdict(gone=vanished)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)
