# SPDX-License-Identifier: MIT
"""PURE: where Jellyfin is, and by which paths it knows what we publish."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JellyfinSettings", "PathMapping", "spare_sidecars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMapping:
    """A publish folder, and where Jellyfin (in a container, on another machine) sees it."""

    ours: Path
    theirs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JellyfinSettings:
    """What the owner decided."""

    url: str
    """Without a slash at its end."""
    api_key: str = field(repr=False)
    mappings: tuple[PathMapping, ...] = ()
    probe_after_publish: bool = True

    gather_s: float = 5.0
    """What changes within this time is told in one call."""
    first_look_s: float = 75.0
    """Jellyfin waits 60 s after the last change before it scans (LibraryMonitorDelay)."""

    def their_path(self, path: Path) -> str:
        """Return the path by which Jellyfin knows one of ours: that of the longest mapping around it."""
        around = [mapping for mapping in self.mappings if path.is_relative_to(mapping.ours)]
        if not around:
            return str(path)
        mapping = max(around, key=lambda each: len(each.ours.parts))
        # A Jellyfin on Windows sees D:\media.
        separator = "\\" if "\\" in mapping.theirs and "/" not in mapping.theirs else "/"
        return separator.join([mapping.theirs.rstrip("/\\"), *path.relative_to(mapping.ours).parts])


def spare_sidecars(paths: list[str]) -> list[str]:
    """
    Leave out what stands beside a ``.strm`` that is told anyway: Jellyfin reads it with the ``.strm``.

    Told by itself, an ``.nfo`` or poster is no item, and Jellyfin refreshes the folder around it, which for
    a film is the whole library.
    """
    strms = [path.removesuffix(".strm") for path in paths if path.endswith(".strm")]
    known = {*strms}
    return [path for path in paths if path.endswith(".strm") or not _has_owner(path, known)]


def _has_owner(path: str, bases: set[str]) -> bool:
    """Tell whether one of ``bases`` with one more ending is ``path``: what follows begins with '-' or '.'."""
    return any(path[:index] in bases for index, char in enumerate(path) if char in "-.")
