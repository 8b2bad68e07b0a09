# SPDX-License-Identifier: MIT
"""
The calls of Jellyfin's API that are needed, as coroutines that raise ``JellyfinError``.

https://api.jellyfin.org, versions 10.9 to 12. The key goes into the Authorization header: query parameters
end in access logs, and the older X-Emby-Token is off in Jellyfin 12 by default.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from tgsyncd.errors import TgsyncdError
from tgsyncd.jellyfin.answer import read_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.jellyfin.answer import Answer
    from tgsyncd.jellyfin.settings import JellyfinSettings

__all__ = [
    "Item",
    "JellyfinClient",
    "JellyfinError",
    "JellyfinFailed",
    "JellyfinRefused",
    "JellyfinSlow",
    "MediaFolder",
    "build_client",
]

CALL_TIMEOUT_S = 30.0

# Jellyfin runs ffprobe meanwhile, with no limit of its own, and then its metadata providers.
PROBE_TIMEOUT_S = 300.0


class JellyfinError(TgsyncdError):
    """Jellyfin does not answer, or not as it should."""


class JellyfinRefused(JellyfinError):
    """Jellyfin does not accept the API key."""


class JellyfinSlow(JellyfinError):
    """Jellyfin took the call and did not finish it in time."""


class JellyfinFailed(JellyfinError):
    """Jellyfin answered that it could not do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFolder:
    """A library of Jellyfin, with the folders that it is made of as Jellyfin sees them."""

    item_id: str
    name: str
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A video in Jellyfin's library."""

    item_id: str
    path: str
    is_probed: bool
    """Whether its duration is known, which for a ``.strm`` only a probe tells."""


def build_client(reactor: Any) -> HTTPClient:
    """Return the HTTP client for ``JellyfinClient``: its connections close when idle for a minute."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.cachedConnectionTimeout = 60
    return HTTPClient(Agent(reactor, connectTimeout=10, pool=pool))


class JellyfinClient:
    """Asks one Jellyfin. ``clock`` is what time limits are counted on."""

    def __init__(self, settings: JellyfinSettings, *, http: HTTPClient, clock: IReactorTime) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock

    async def report_changes(self, changed: Sequence[str], *, removed: Sequence[str] = ()) -> None:
        """Say which paths changed or went. Jellyfin looks there a minute after the last such call."""
        updates = [
            *({"Path": path, "UpdateType": "Modified"} for path in changed),
            *({"Path": path, "UpdateType": "Deleted"} for path in removed),
        ]
        await self._call("POST", "/Library/Media/Updated", body={"Updates": updates})

    async def media_folders(self) -> tuple[MediaFolder, ...]:
        """Return Jellyfin's libraries."""
        answer = await self._call("GET", "/Library/VirtualFolders")
        return tuple(
            MediaFolder(
                item_id=str(each.get("ItemId", "")),
                name=str(each.get("Name", "")),
                locations=tuple(str(location) for location in each.get("Locations") or ()),
            )
            for each in _rows(answer)
        )

    async def newest_items(self, folder_id: str, *, start: int, limit: int) -> tuple[Item, ...]:
        """Return videos below a library, the last added first."""
        answer = await self._call(
            "GET",
            "/Items",
            parameters={
                "ParentId": folder_id,
                "Recursive": "true",
                "IncludeItemTypes": "Movie,Episode,Video,MusicVideo,Trailer",
                "Fields": "Path",
                "SortBy": "DateCreated",
                "SortOrder": "Descending",
                "EnableImages": "false",
                "EnableUserData": "false",
                "StartIndex": str(start),
                "Limit": str(limit),
            },
        )
        rows = _rows(answer.get("Items") if isinstance(answer, dict) else None)
        return tuple(
            Item(
                item_id=str(row.get("Id", "")),
                path=str(row.get("Path", "")),
                is_probed=bool(row.get("RunTimeTicks")),
            )
            for row in rows
        )

    async def probe(self, item_id: str) -> None:
        """
        Let Jellyfin look into a ``.strm``: its duration, codecs and tracks.

        This is what it does at Play, and nothing else makes it (the one place that sets
        EnableRemoteContentProbe is MediaSourceManager.GetPlaybackMediaSources).
        """
        await self._call("GET", f"/Items/{quote(item_id, safe='')}/PlaybackInfo", timeout_s=PROBE_TIMEOUT_S)

    async def server_version(self) -> str:
        """Return Jellyfin's version, for which the API key is needed."""
        answer = await self._call("GET", "/System/Info")
        return str(answer.get("Version", "")) if isinstance(answer, dict) else ""

    async def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: object = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        headers: dict[bytes | str, bytes | str] = {
            "Authorization": f'MediaBrowser Token="{quote(self._settings.api_key)}"',
            "Accept": "application/json",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = self._http.request(
            method,
            f"{self._settings.url}{path}",
            params=parameters or {},
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
            allow_redirects=False,
            unbuffered=True,
        )
        # Counted to the end of the body: a Jellyfin that stops in the middle is as down.
        answered: Deferred[Answer] = request.addCallback(read_answer)
        answered.addTimeout(timeout_s, self._clock, onTimeoutCancel=_as_timeout)
        try:
            status, data = await answered
        except CancelledError:
            raise  # By our own stop.
        except DeferredTimeout as error:
            raise JellyfinSlow(
                f"Jellyfin at {self._settings.url} did not answer in {timeout_s:.0f} s"
            ) from error
        except Exception as error:
            raise JellyfinError(
                f"Jellyfin at {self._settings.url} does not answer: {_words(error)}",
                hint="is it running, and jellyfin.url its address?",
            ) from error
        return self._answer(status, data, path)

    def _answer(self, status: int, data: bytes, path: str) -> Any:
        if status in {401, 403}:
            raise JellyfinRefused(
                f"Jellyfin at {self._settings.url} refuses the API key ({status})",
                hint="make one in Jellyfin's dashboard, API keys, and name its file in jellyfin.api_key_file",
            )
        if status in {502, 503, 504}:
            raise JellyfinError(f"Jellyfin at {self._settings.url} is starting or down ({status})")
        if not 200 <= status < 300:
            raise JellyfinFailed(
                f"Jellyfin at {self._settings.url} answered {status} to {path}",
                hint="Jellyfin's own log says why" if status >= 500 else "is jellyfin.url the whole address?",
            )
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise JellyfinError(
                f"what answers at {self._settings.url} is no Jellyfin", hint="check jellyfin.url"
            ) from error


def _as_timeout(result: Any, timeout_s: float) -> Any:
    """Tell a timeout, whatever the cancelled agent made of it (ResponseNeverReceived, for one)."""
    if isinstance(result, Failure):
        raise DeferredTimeout(timeout_s)
    return result


def _words(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:  # RequestTransmissionFailed, ResponseNeverReceived: lists of failures
        return str(reasons[0].value)
    return str(error) or type(error).__name__


def _rows(answer: object) -> list[dict[str, Any]]:
    return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
