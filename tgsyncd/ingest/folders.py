# SPDX-License-Identifier: MIT
"""Walk source folders for ``tgsyncd run``. Everything here blocks: call it in a thread."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from tgsyncd.ingest.scan import MAX_DEPTH, VIDEO_SUFFIXES
from tgsyncd.ingest.watching import FoundFile, Walk, shall_look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.ingest.watching import Known

__all__ = ["WalkRules", "is_candidate", "is_sample_or_trailer", "look_at", "walk_folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkRules:
    """What is taken and what is passed over; options of the section ``scan``."""

    partial_suffixes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    samples: bool = False
    trailers: bool = False
    follow_symlinks: bool = False
    one_file_system: bool = False


# Jellyfin's rules for extras (Emby.Naming/Common/NamingOptions.cs): a suffix, or the name of a folder.
_SAMPLE = re.compile(r"(^|[ ._-])samples?$", re.IGNORECASE)
_TRAILER = re.compile(r"(^|[ ._-])trailers?$", re.IGNORECASE)


def is_candidate(name: str, relative: str, rules: WalkRules, siblings: frozenset[str] = frozenset()) -> bool:
    """Tell by its name whether a file is taken. ``relative`` is its path below the source folder."""
    lower = name.lower()
    if name.startswith(".") or lower.endswith(rules.partial_suffixes):
        return False
    if Path(lower).suffix not in VIDEO_SUFFIXES:
        return False
    if any(f"{name}{suffix}" in siblings for suffix in rules.partial_suffixes):
        return False
    return _is_wanted(Path(name).stem, name, relative, rules)


def is_sample_or_trailer(stem: str) -> bool:
    """Tell by its name, without ending, whether a file or folder is a sample or a trailer."""
    return bool(_SAMPLE.search(stem) or _TRAILER.search(stem))


def _is_wanted(stem: str, name: str, relative: str, rules: WalkRules) -> bool:
    if not rules.samples and _SAMPLE.search(stem):
        return False
    if not rules.trailers and _TRAILER.search(stem):
        return False
    return not any(fnmatchcase(name, each) or fnmatchcase(relative, each) for each in rules.exclude)


def look_at(path: str, *, device: int | None = None) -> FoundFile | None:
    """Return what a file is now; None when it is gone, empty, or no regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a hundred thousand times
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return None
    return FoundFile(
        path=path,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        device=status.st_dev if device is None else device,
        # Fewer blocks than bytes: holes, or a compressing file system. ``has_holes`` tells them apart.
        has_holes=status.st_blocks * 512 < status.st_size and _has_holes(path, status.st_size),
    )


def _has_holes(path: str, size_bytes: int) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) < size_bytes
    except OSError:
        return False
    finally:
        os.close(fd)


def walk_folder(
    root: Path,
    rules: WalkRules,
    *,
    below: Path | None = None,
    known: Known | None = None,
) -> Walk:
    """
    Return every file below ``root`` that the rules take, or only those ``below`` a folder in it.

    With what is ``known`` (by path) only the files to be looked at are described: a hundred thousand
    objects that live for a moment make Python's garbage collector hold the whole process for 100 ms.
    Raises nothing: see ``Walk``.
    """
    walker = _Walker(str(root), rules, known)
    try:
        walker.device = root.stat().st_dev
        is_empty = not any(True for _ in os.scandir(root))
    except OSError:
        return Walk(root=str(root), root_device=None, is_empty=False, files=())
    start = below or root
    walker.walk(str(start), len(start.relative_to(root).parts))
    return Walk(
        root=str(root),
        root_device=walker.device,
        is_empty=is_empty,
        files=walker.files,
        seen=None if known is None else walker.seen,
        unreadable=tuple(walker.unreadable),
    )


@dataclass(slots=True)
class _Walker:
    root: str
    rules: WalkRules
    known: Known | None = None
    seen: set[str] = field(default_factory=set)
    device: int = 0
    files: list[FoundFile] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def walk(self, folder: str, depth: int) -> None:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            self.unreadable.append(folder)
            return
        siblings = frozenset(entry.name for entry in entries)
        for entry in entries:
            try:
                self._take(entry, siblings, depth)
            except OSError:
                self.unreadable.append(entry.path)

    def _take(self, entry: os.DirEntry[str], siblings: frozenset[str], depth: int) -> None:
        relative = entry.path[len(self.root) :].lstrip("/")
        if entry.is_dir(follow_symlinks=False):
            if depth < MAX_DEPTH and self._may_enter(entry, relative):
                self.walk(entry.path, depth + 1)
        elif is_candidate(entry.name, relative, self.rules, siblings) and (
            self.rules.follow_symlinks or not entry.is_symlink()
        ):
            file = look_at(entry.path)
            if file is None:
                return
            if self.known is not None:
                self.seen.add(file.path)
                if not shall_look(file, self.known.get(file.path)):
                    return
            self.files.append(file)

    def _may_enter(self, entry: os.DirEntry[str], relative: str) -> bool:
        if entry.name.startswith(".") or not _is_wanted(entry.name, entry.name, relative, self.rules):
            return False
        return not self.rules.one_file_system or entry.stat(follow_symlinks=False).st_dev == self.device


def folders_below(root: Path, rules: WalkRules) -> Sequence[Path]:
    """Return ``root`` and the folders below it that are walked: what inotify has to watch."""
    found = [root]
    for folder, names, _files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = [
            name
            for name in sorted(names)
            if not name.startswith(".")
            and depth < MAX_DEPTH
            and not (Path(folder) / name).is_symlink()
            and _is_wanted(name, name, str((Path(folder) / name).relative_to(root)), rules)
        ]
        found.extend(Path(folder) / name for name in names)
    return found
