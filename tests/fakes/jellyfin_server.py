# SPDX-License-Identifier: MIT
"""
A Jellyfin for tests, over real HTTP: it records every call, and answers the few that tgsyncd makes.

Written from Jellyfin's API description (https://api.jellyfin.org): LibraryController.PostUpdatedMedia,
LibraryStructureController.GetVirtualFolders, ItemsController.GetItems, MediaInfoController.GetPlaybackInfo,
SystemController.GetSystemInfo. Whatever the description does not allow is answered 400, so that a wrong call
fails its test::

    jellyfin = JellyfinServer(reactor, api_key="k")
    await jellyfin.start()
    jellyfin.add_library("Films", "/media/films")
    jellyfin.add_item("/media/films/Film (1999)/Film (1999).strm")
    ... jellyfin.url ...
    assert jellyfin.calls == [("POST", "/Library/Media/Updated", {...})]
    await jellyfin.stop()
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

UPDATE_TYPES = {"Created", "Modified", "Deleted"}
ITEM_FIELDS = {"Path", "MediaSources", "DateCreated", "ProviderIds"}
PARAMETERS = {
    "ParentId", "Recursive", "IncludeItemTypes", "Fields", "SortBy", "SortOrder", "EnableImages",
    "EnableUserData", "StartIndex", "Limit",
}  # fmt: skip


@dataclass
class Call:
    """One request as it came."""

    method: str
    path: str
    body: Any = None
    parameters: dict[str, str] = field(default_factory=dict)
    authorization: str = ""


@dataclass
class Entry:
    """An item of the library; ``probed`` counts PlaybackInfo, which for a .strm is when Jellyfin probes."""

    id: str
    path: str
    library_id: str
    runtime_ticks: int | None = None
    probed: int = 0


class JellyfinServer:
    """The server and what a test may change while it runs."""

    def __init__(self, reactor: Any, *, api_key: str = "the-key") -> None:
        self._reactor = reactor
        self._port: Any = None
        self.api_key = api_key
        self.requests: list[Call] = []
        self.libraries: dict[str, tuple[str, list[str]]] = {}
        self.items: list[Entry] = []
        self.failing: int | None = None
        """Answer everything with this status."""
        self.fail_paths: dict[str, int] = {}
        """Answer these paths with this status."""
        self.silent: set[str] = set()
        """Take calls of these paths and never answer."""
        self.at_once = 0
        self.most_at_once = 0
        """The most PlaybackInfo calls that were open at the same time."""
        self._waiting: list[Deferred[None]] = []

    async def start(self, port: int = 0) -> None:
        self._port = self._reactor.listenTCP(port, Site(_Everything(self)), interface="127.0.0.1")

    async def stop(self) -> None:
        port, self._port = self._port, None
        await port.stopListening()

    @property
    def port(self) -> int:
        return self._port.getHost().port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_library(self, name: str, *locations: str) -> str:
        item_id = uuid.uuid5(uuid.NAMESPACE_URL, name).hex
        self.libraries[item_id] = (name, [*locations])
        return item_id

    def add_item(self, path: str, *, runtime_ticks: int | None = None) -> Entry:
        """Add what a scan found; the last added is the newest."""
        owner = next(
            key for key, (_, roots) in self.libraries.items() if any(path.startswith(root) for root in roots)
        )
        entry = Entry(uuid.uuid5(uuid.NAMESPACE_URL, path).hex, path, owner, runtime_ticks)
        self.items.append(entry)
        return entry

    @property
    def calls(self) -> list[str]:
        """Return method and path of every request, in order."""
        return [f"{call.method} {call.path}" for call in self.requests]

    def updates(self) -> list[list[dict[str, str]]]:
        """Return the Updates of each POST /Library/Media/Updated."""
        return [call.body["Updates"] for call in self.requests if call.path == "/Library/Media/Updated"]

    def arrived(self, count: int) -> Deferred[None]:
        """Fire when so many requests have been answered."""
        return Deferred.fromCoroutine(self._until(lambda: len(self.requests) >= count))

    async def _until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(self._reactor, 0.005, lambda: None)

    # -- answers ---------------------------------------------------------------------------------

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.failing:
            return self.failing, None
        if call.path in self.fail_paths:
            return self.fail_paths[call.path], None
        if call.authorization != f'MediaBrowser Token="{self.api_key}"':
            return 401, None
        match (call.method, call.path.strip("/").split("/")):
            case ("POST", ["Library", "Media", "Updated"]):
                return self._updated(call.body)
            case ("GET", ["Library", "VirtualFolders"]):
                return 200, [
                    {"Name": name, "Locations": roots, "ItemId": key, "CollectionType": "movies"}
                    for key, (name, roots) in self.libraries.items()
                ]
            case ("GET", ["Items"]):
                return self._items(call.parameters)
            case ("GET", ["Items", item_id, "PlaybackInfo"]):
                return self._playback_info(item_id)
            case ("GET", ["System", "Info"]):
                return 200, {"ServerName": "test", "Version": "10.11.11", "Id": "0"}
        return 404, None

    def _updated(self, body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict) or {*body} != {"Updates"}:
            return 400, None
        for update in body["Updates"]:
            if {*update} != {"Path", "UpdateType"} or update["UpdateType"] not in UPDATE_TYPES:
                return 400, None
        return 204, None

    def _items(self, parameters: dict[str, str]) -> tuple[int, Any]:
        if not {*parameters} <= PARAMETERS or not {*parameters["Fields"].split(",")} <= ITEM_FIELDS:
            return 400, None
        found = [item for item in self.items if item.library_id == parameters["ParentId"]]
        if parameters.get("SortOrder") == "Descending":
            found.reverse()
        start, limit = int(parameters.get("StartIndex", 0)), int(parameters.get("Limit", 100))
        rows = []
        for item in found[start : start + limit]:
            row: dict[str, Any] = {"Id": item.id, "Path": item.path, "Type": "Movie"}
            if item.runtime_ticks is not None:
                row["RunTimeTicks"] = item.runtime_ticks
            rows.append(row)
        return 200, {"Items": rows, "TotalRecordCount": len(found), "StartIndex": start}

    def _playback_info(self, item_id: str) -> tuple[int, Any]:
        for item in self.items:
            if item.id == item_id:
                item.probed += 1
                item.runtime_ticks = 72_000_000_000
                return 200, {"MediaSources": [{"Id": item_id, "Protocol": "Http"}], "PlaySessionId": "1"}
        return 404, None


class _Everything(Resource):
    isLeaf = True

    def __init__(self, jellyfin: JellyfinServer) -> None:
        super().__init__()
        self._jellyfin = jellyfin

    def render(self, request: Request) -> Any:
        raw = request.content.read()
        call = Call(
            method=request.method.decode(),
            path=request.path.decode(),
            body=json.loads(raw) if raw else None,
            parameters={key.decode(): values[0].decode() for key, values in request.args.items()},
            authorization=(request.getHeader("authorization") or ""),
        )
        self._jellyfin.requests.append(call)
        if call.path in self._jellyfin.silent:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        Deferred.fromCoroutine(self._answer(request, call))
        return NOT_DONE_YET

    async def _answer(self, request: Request, call: Call) -> None:
        jellyfin = self._jellyfin
        is_probe = call.path.endswith("/PlaybackInfo")
        jellyfin.at_once += is_probe
        jellyfin.most_at_once = max(jellyfin.most_at_once, jellyfin.at_once)
        # One turn of the reactor, in which a second call would come if one were sent.
        await deferLater(jellyfin._reactor, 0.01 if is_probe else 0, lambda: None)
        jellyfin.at_once -= is_probe
        status, answer = jellyfin.answer(call)
        request.setResponseCode(status)
        if answer is not None:
            request.setHeader("content-type", "application/json; charset=utf-8")
            request.write(json.dumps(answer).encode())
        request.finish()
