# SPDX-License-Identifier: MIT
"""What ``doctor`` asks of Jellyfin: its address, the API key, and whether it has our folders as libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.jellyfin.client import JellyfinClient
    from tgsyncd.jellyfin.settings import JellyfinSettings

__all__ = ["check_jellyfin"]


async def check_jellyfin(
    client: JellyfinClient, settings: JellyfinSettings, roots: Sequence[str]
) -> tuple[str, list[str]]:
    """
    Return Jellyfin's version, and a sentence for each of ``roots`` that it has in no library.

    ``roots`` are publish folders as Jellyfin sees them (``settings.their_path``). Raises JellyfinError, whose
    hint is the remedy, when it does not answer or refuses the key.
    """
    version = await client.server_version()
    folders = await client.media_folders()
    locations = [location.rstrip("/\\") for folder in folders for location in folder.locations]
    known = ", ".join(locations) or "none"
    return version, [
        f"no library of Jellyfin at {settings.url} holds {root}: add it there, or set jellyfin_path to what "
        f"Jellyfin calls it (its folders: {known})"
        for root in roots
        if not any(_is_within(root.rstrip("/\\"), location) for location in locations)
    ]


def _is_within(path: str, location: str) -> bool:
    return path == location or path.startswith((f"{location}/", f"{location}\\"))
