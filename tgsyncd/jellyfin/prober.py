# SPDX-License-Identifier: MIT
"""
Finds new videos in Jellyfin, and makes it look into each once.

After a scan Jellyfin knows no duration, codecs or tracks of a ``.strm``: it probes one at Play only. Until
then it shows no length, and Seerr does not count the video as available.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.logger import Logger

from tgsyncd.jellyfin.client import JellyfinFailed, JellyfinSlow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tgsyncd.jellyfin.client import Item, JellyfinClient, MediaFolder

__all__ = ["Prober"]

_log = Logger()

LOOK_AGAIN_S = (60.0, 120.0, 300.0, 900.0, 3600.0)
"""Between looks for a video that Jellyfin does not have yet: a large scan may run before ours."""

PAGE_ITEMS = 200

# 10,000 newest videos of a library are looked through for one that was just published.
MAX_PAGES = 50

MAX_WANTED = 5000
"""Videos that wait to be found. One that falls out is probed at its first Play, as without us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    due_s: float
    looks: int = 0


class Prober:
    """The videos that Jellyfin has yet to look into. It has no timer: whoever owns it calls ``work``."""

    def __init__(self, client: JellyfinClient, *, first_look_s: float) -> None:
        self._client = client
        self._first_look_s = first_look_s
        self._wanted: dict[str, _Wanted] = {}
        self._found: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """How many videos wait to be found or probed."""
        return len(self._wanted) + len(self._found)

    @property
    def paths(self) -> list[str]:
        """The videos that wait, as Jellyfin sees them."""
        return [*self._wanted, *self._found]

    def add(self, paths: Iterable[str], *, now_s: float) -> None:
        """Look for these (as Jellyfin sees them) after its scan; one that waits already waits anew."""
        for path in paths:
            self.forget([path])
            if self.waiting < MAX_WANTED:
                self._wanted[path] = _Wanted(due_s=now_s + self._first_look_s)

    def forget(self, paths: Iterable[str]) -> None:
        """Look no longer for these, which are gone."""
        for path in paths:
            self._found.pop(path, None)
            self._wanted.pop(path, None)

    def next_due_s(self) -> float | None:
        """Return when there is something to do, or None."""
        if self._found:
            return 0.0
        return min((wanted.due_s for wanted in self._wanted.values()), default=None)

    async def work(self, now_s: float) -> None:
        """
        Do what is due.

        Look for what is due, then probe one at a time.

        Raises JellyfinError when Jellyfin is down; what was not done is done at the next call.
        """
        due = {path for path, wanted in self._wanted.items() if wanted.due_s <= now_s}
        if due:
            await self._look_for(due, now_s)
        while self._found:
            path, item_id = next(iter(self._found.items()))
            try:
                await self._client.probe(item_id)
            except (JellyfinFailed, JellyfinSlow) as error:
                # This video's trouble, not Jellyfin's: it looks again at the first Play.
                _log.warn("Jellyfin could not look into {path}: {error}", path=path, error=error)
            self._found.pop(path, None)

    async def _look_for(self, due: set[str], now_s: float) -> None:
        missing = {*due}
        for folder, paths in _by_folder(await self._client.media_folders(), due).items():
            missing -= await self._look_in(folder, paths)
        given_up = [path for path in missing if self._look_again(path, now_s)]
        if given_up:
            more = f" and {len(given_up) - 1} others" if len(given_up) > 1 else ""
            _log.info(
                "Jellyfin has not taken up {path}{more}: is it in a library, and jellyfin_path right?",
                path=given_up[0], more=more,
            )  # fmt: skip

    async def _look_in(self, folder_id: str, paths: Sequence[str]) -> set[str]:
        """Page through a library, the newest first, until all are found; return those that were."""
        missing = {*paths}
        for page in range(MAX_PAGES):
            items = await self._client.newest_items(folder_id, start=page * PAGE_ITEMS, limit=PAGE_ITEMS)
            for item in items:
                if item.path in missing:
                    missing.discard(item.path)
                    self._take(item)
            if not missing or len(items) < PAGE_ITEMS:
                break
        return {*paths} - missing

    def _take(self, item: Item) -> None:
        self._wanted.pop(item.path, None)
        if not item.is_probed:
            self._found[item.path] = item.item_id

    def _look_again(self, path: str, now_s: float) -> bool:
        """Plan another look; tell whether that was the last one."""
        wanted = self._wanted.get(path)
        if wanted is None:
            return False
        if wanted.looks < len(LOOK_AGAIN_S):
            wait_s = LOOK_AGAIN_S[wanted.looks]
            self._wanted[path] = replace(wanted, due_s=now_s + wait_s, looks=wanted.looks + 1)
            return False
        del self._wanted[path]
        return True


def _by_folder(folders: Sequence[MediaFolder], paths: Iterable[str]) -> Mapping[str, list[str]]:
    """Sort paths by the library they lie in; what lies in none is left out."""
    sorted_: dict[str, list[str]] = {}
    for path in paths:
        for folder in folders:
            if folder.item_id and any(_is_below(path, location) for location in folder.locations):
                sorted_.setdefault(folder.item_id, []).append(path)
                break
    return sorted_


def _is_below(path: str, location: str) -> bool:
    root = location.rstrip("/\\")
    return path.startswith(root) and path[len(root) : len(root) + 1] in {"/", "\\"}
