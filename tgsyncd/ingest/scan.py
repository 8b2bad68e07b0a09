# SPDX-License-Identifier: MIT
"""Find source files and tell which is which. Everything here blocks: call it in a thread."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tgsyncd.errors import SourceChanged, SourceUnreadable
from tgsyncd.model import SourceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["VIDEO_SUFFIXES", "find_videos", "identify", "is_unchanged"]

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".m2ts", ".m4v", ".mk3d", ".mkv", ".mov",
        ".mp4", ".mpeg", ".mpg", ".mts", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv",
    }
)  # fmt: skip
"""Jellyfin's VideoFileExtensions (Emby.Naming/Common/NamingOptions.cs), less disc images and ``.strm``."""

SAMPLE_BYTES = 1 << 20
"""Three of these identify a file: they tell films apart in 3 ms where a full hash takes minutes."""

MAX_DEPTH = 16


def identify(path: Path) -> SourceIdentity:
    """
    Read what identifies the file at ``path``.

    Raises SourceUnreadable (missing, empty, not a regular file, no permission) and SourceChanged when its
    size or mtime move while it is read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}", hint=_remedy(error)) from error
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise SourceUnreadable(f"{path} is not a regular file")
        if before.st_size == 0:
            raise SourceUnreadable(
                f"{path} is empty (0 bytes)", hint="it may still be copied; upload it when it is whole"
            )
        sampled = _sampled_hash(fd, before.st_size)
        after = os.fstat(fd)
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}", hint=_remedy(error)) from error
    finally:
        os.close(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceChanged(f"{path} is being written to", hint="upload it when it is whole")
    return SourceIdentity(
        path=str(path),
        size_bytes=before.st_size,
        mtime_ns=before.st_mtime_ns,
        inode=before.st_ino,
        device=before.st_dev,
        sampled_hash=sampled,
    )


def is_unchanged(identity: SourceIdentity) -> bool:
    """Tell whether the file still has the size and mtime of ``identity``."""
    try:
        now = Path(identity.path).stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (identity.size_bytes, identity.mtime_ns)


def is_there(identity: SourceIdentity) -> bool:
    """Tell whether the file still stands at its path: by size and mtime, or by its sampled hash. Blocks."""
    if is_unchanged(identity):
        return True
    try:
        return identify(Path(identity.path)).sampled_hash == identity.sampled_hash
    except (SourceUnreadable, SourceChanged):
        return False


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """
    Return the source files that ``paths`` mean: files as they are named, folders searched by suffix.

    Hidden files and folders are passed over, symbolic links to folders are not followed (a loop would never
    end), the order is by name. Nothing is raised for a folder that cannot be read: one that ``paths`` name
    is returned itself, for ``identify`` to say why; one below yields nothing.
    """
    found: list[Path] = []
    for path in paths:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow symbolic links
        found.extend(_walk(absolute, 0) if _is_listable(absolute) else [absolute])
    return list(dict.fromkeys(found))


def _is_listable(path: Path) -> bool:
    try:
        os.scandir(path).close()
    except OSError:
        return False
    return True


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if depth > MAX_DEPTH:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), depth + 1)
        elif Path(entry.name).suffix.lower() in VIDEO_SUFFIXES and entry.is_file():
            yield Path(entry.path)


def _sampled_hash(fd: int, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for start in (0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)):
        digest.update(os.pread(fd, SAMPLE_BYTES, start))
    return digest.hexdigest()


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "let the user that tgsyncd runs as read it"
    return "check the path" if isinstance(error, FileNotFoundError) else ""
