# SPDX-License-Identifier: MIT
"""What ``doctor`` makes of a published ``.strm``: whether its address is ours, and whether it plays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThreadPool

from tgsyncd.errors import TgsyncdError
from tgsyncd.maintenance.doctor import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["check_strm", "find_strm"]

MAX_ENTRIES = 20_000
"""So many names are looked at to find one ``.strm``."""
_LONGEST_BYTES = 10_000
_REWRITES = "start the daemon: it writes the .strm files anew, at its start and each scan.interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStrm:
    """A ``.strm`` and the URL in it."""

    path: Path
    url: str


def find_strm(folders: Sequence[Path]) -> FoundStrm | None:
    """Return the first ``.strm`` below the folders; None when there is none. Blocks."""
    seen = 0
    for root in folders:
        for folder, _, names in os.walk(root):
            seen += len(names)
            for name in sorted(names):
                if name.endswith(".strm") and (url := _url_in(Path(folder, name))):
                    return FoundStrm(path=Path(folder, name), url=url)
            if seen > MAX_ENTRIES:
                return None
    return None


def _url_in(path: Path) -> str:
    """Return the first line that is no comment: what Jellyfin plays (ProbeProvider.FetchShortcutInfo)."""
    try:
        with path.open("rb") as file:
            lines = file.read(_LONGEST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")


async def check_strm(
    folders: Sequence[Path],
    public_urls: Sequence[str],
    *,
    reactor: Any,
    fetch: Callable[[str], Awaitable[tuple[int, bytes]]],
) -> Sequence[Finding]:
    """
    Ask for what one published ``.strm`` names, as Jellyfin does at Play.

    No finding where nothing is published; what cannot be asked because no server runs is said.
    """
    strm = await deferToThreadPool(reactor, reactor.getThreadPool(), find_strm, folders)
    if strm is None:
        return []
    if not any(strm.url.startswith(f"{url.rstrip('/')}/") for url in public_urls):
        address = "{0.scheme}://{0.netloc}".format(urlsplit(strm.url))
        return [_finding(strm, f"its address, {address}, is none of server.public_urls", _REWRITES)]
    try:
        status, body = await fetch(strm.url)
    except TgsyncdError as error:
        message = f"its address is right; it was not played, for no server runs: {error.message}"
        return [_finding(strm, message, "start the daemon, and ask again", Level.WARNING)]
    return [judge_answer(strm, status, body)]


def judge_answer(strm: FoundStrm, status: int, body: bytes) -> Finding:
    """Judge what the server answered to the URL of a ``.strm``."""
    if status == 200 and body.startswith(b"#EXTM3U"):
        return Finding(level=Level.OK, subject=str(strm.path), message="its address answers with a playlist")
    if status == 403:
        return _finding(strm, "it does not open its video: its URL was revoked, or is not signed", _REWRITES)
    if status == 404:
        return _finding(strm, "its video is not known any more", "see `tgsyncd list`; delete the .strm")
    return _finding(strm, f"its address answers {status}, with no playlist", "look into tgsyncd's log")


def _finding(strm: FoundStrm, message: str, remedy: str, level: Level = Level.PROBLEM) -> Finding:
    return Finding(level=level, subject=str(strm.path), message=message, remedy=remedy)
