# SPDX-License-Identifier: MIT
"""The HTTP server: Klein's tree, which says which route goes where, and the routes that are not players'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from klein import Klein
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException

from tgsyncd.errors import NotFound, Refused, TgsyncdError
from tgsyncd.formats import hls
from tgsyncd.model import VideoId
from tgsyncd.playback import access, answers, reports
from tgsyncd.playback.answers import NO_CACHE
from tgsyncd.playback.players import PlayersResource
from tgsyncd.playback.resources import Playback
from tgsyncd.playback.settings import AuthMode
from tgsyncd.playback.site import ServerSite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from tgsyncd.model import Video
    from tgsyncd.playback.engine import Engine
    from tgsyncd.playback.settings import Actions, ServerSettings
    from tgsyncd.ports import CatalogReader


VIDEOS_AT_ONCE = 100
"""Read and rendered in some 5 ms."""


def build_site(
    *,
    reactor: IReactorTime,
    reader: CatalogReader,
    engine: Engine,
    settings: ServerSettings,
    actions: Actions,
) -> ServerSite:
    """Build the server's site, to be listened with. Routes: docs/http.md."""
    playback = Playback(reactor=reactor, reader=reader, engine=engine, settings=settings)
    api = Api(reactor=reactor, reader=reader, playback=playback, settings=settings, actions=actions)
    return ServerSite(Root(playback, api, settings), settings=settings, reactor=reactor)


class Root(Resource):
    """
    Checks the Host, and sends each request where Klein's tree says.

    What the tree hands over to a plain resource goes there without asking it again: its matching costs five
    times as much as an answer, and players ask for little else.
    """

    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, playback: Playback, api: Api, settings: ServerSettings) -> None:
        super().__init__()
        self._playback = playback
        self._api = api.app.resource()
        self._players = api.players
        self._handed_over = handed_over()
        self._names = access.allowed_names(settings.public_urls, settings.allowed_hosts)

    def render(self, request: Request) -> Any:
        """Answer a request."""
        trouble = self._host_trouble(request)
        if not trouble and self._playback.answer_at_once(request):
            return NOT_DONE_YET
        answers.set_headers(request, answers.COMMON_HEADERS)
        if trouble:
            self._playback.refuse(request, *trouble)
            return NOT_DONE_YET
        is_handed_over = request.path[1:].partition(b"/")[0] in self._handed_over
        return (self._players if is_handed_over else self._api).render(request)

    def _host_trouble(self, request: Request) -> tuple[int, str] | None:
        hosts = request.requestHeaders.getRawHeaders("Host") or []
        if not hosts and request.clientproto == b"HTTP/1.0":
            return None  # no browser, so nobody to be fooled by rebound DNS
        if len(hosts) != 1 or access.parse_host(hosts[0]) is None:
            return 400, "one valid Host header, please"
        if not access.host_is_allowed(hosts[0], self._names):
            return 421, "this server does not answer to that name (server.public_urls, allowed_hosts)"
        return None


def handed_over() -> frozenset[bytes]:
    """Return the first parts of all paths that Klein's tree hands over to a plain resource."""
    hand_over = Api.hand_over.__name__
    return frozenset(
        rule.rule.split("/")[1].encode()
        for rule in Api.app.url_map.iter_rules()
        if rule.endpoint in (hand_over, f"{hand_over}_branch")  # so Klein names the two of a branch
    )


class Unauthorized(Exception):
    """The admin token is missing or wrong."""

    def __init__(self) -> None:
        super().__init__("this needs the admin token: 'Authorization: Bearer <token>'")


class BadRequest(Exception):
    """The request names nothing possible."""


class Api:
    """Listing, deleting, debugging, health: JSON for people and machines."""

    app: ClassVar[Klein] = Klein()
    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        reader: CatalogReader,
        playback: Playback,
        settings: ServerSettings,
        actions: Actions,
    ) -> None:
        self._reactor = reactor
        self._reader = reader
        self._playback = playback
        self._settings = settings
        self._actions = actions
        self.players = PlayersResource(playback)

    @app.route("/playlist/", branch=True)
    @app.route("/segment/", branch=True)
    @app.route("/stream/", branch=True)
    @app.route("/play/", branch=True)
    @app.route("/p/", branch=True)
    @app.route("/static/", branch=True)
    @app.route("/test-jellyfin.m3u8")
    def hand_over(self, _request: Request) -> PlayersResource:
        """Hand over what players ask for."""
        return self.players

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Request) -> bytes:
        """Say that the process answers."""
        return _json(request, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: Request) -> bytes:
        """Say whether playback would work now."""
        reasons = list(self._actions.not_ready())
        if reasons:
            return _json(request, {"status": "not ready", "reasons": reasons}, code=503)
        return _json(request, {"status": "ready"})

    @app.route("/videos", methods=["GET"])
    async def videos(self, request: Request) -> bytes:
        """List all videos, one a line. Ten thousand would hold up the players for half a second."""
        self._check_may_look(request)
        base_url = self._playback.base_url(request)
        lines: list[str] = []
        after = ""
        while page := self._reader.videos(after=after, limit=VIDEOS_AT_ONCE):
            lines += [_compact(self._report(video, base_url)) for video in page]
            after = page[-1].video_id
            await deferLater(self._reactor, 0)
        return _send_json(request, '{"videos": [\n' + ",\n".join(lines) + "\n]}\n")

    @app.route("/videos/<video_id>", methods=["GET"])
    def video(self, request: Request, video_id: str) -> bytes:
        """Show one video and its renditions."""
        self._check_may_look(request)
        video = self._find(video_id)
        return _json(
            request,
            {
                **self._report(video, self._playback.base_url(request)),
                "renditions": [
                    reports.report_rendition(item) for item in self._playback.current_renditions(video)
                ],
            },
        )

    @app.route("/videos/<video_id>", methods=["DELETE"])
    async def delete_video(self, request: Request, video_id: str) -> bytes:
        """Delete a video: published files, rows, documents."""
        self._check_may_change(request)
        video = self._find(video_id)
        return _json(request, await self._actions.delete_video(video.video_id))

    @app.route("/debug", methods=["GET"])
    def debug(self, request: Request) -> bytes:
        """Show status and statistics."""
        self._check_may_look(request)
        return _json(request, self._actions.debug())

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Request) -> bytes:
        """Show numbers for Prometheus."""
        self._check_may_look(request)
        body = self._actions.metrics()
        answers.set_headers(
            request,
            {
                "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
                "Content-Length": str(len(body)),
                "Cache-Control": NO_CACHE,
            },
        )
        return body

    @app.route("/debug/<video_id>", methods=["GET"])
    def debug_video(self, request: Request, video_id: str) -> bytes:
        """Show one video with its documents."""
        self._check_may_look(request)
        video = self._find(video_id)
        return _json(
            request,
            {
                **self._report(video, self._playback.base_url(request)),
                "renditions": [
                    {
                        **reports.report_rendition(item),
                        "documents": reports.report_documents(self._reader.documents(item.rendition_id)),
                        "cache": self._playback.engine.report_stream(item),
                    }
                    for item in self._playback.current_renditions(video)
                ],
            },
        )

    def _report(self, video: Video, base_url: str) -> dict[str, object]:
        urls = self._playback.urls(video, base_url, self._playback.capability(video))
        return reports.report_video(video, urls)

    def _find(self, video_id: str) -> Video:
        if not hls.is_video_id(video_id):
            raise BadRequest("not a video_id: [a-z0-9][a-z0-9._-]{0,99}")
        video = self._reader.video(VideoId(video_id))
        if video is None:
            raise NotFound("no such video")
        return video

    # --- who may -------------------------------------------------------------------------------------

    def _check_may_look(self, request: Request) -> None:
        if self._settings.auth is not AuthMode.SIGNED:
            return
        if self._settings.admin_token is None:
            raise Refused(
                "this needs an admin token, and this server has none",
                hint="'tgsyncd auth token' makes one; 'tgsyncd status' needs none",
            )
        self._check_token(request)

    def _check_may_change(self, request: Request) -> None:
        """Refuse without the token, always: that a request comes from loopback proves nothing (proxies)."""
        if self._settings.admin_token is None:
            raise Refused(
                "this server has no admin token, so it changes nothing over HTTP",
                hint="set auth.admin_token_file, or use 'tgsyncd delete --video-id'",
            )
        self._check_token(request)

    def _check_token(self, request: Request) -> None:
        token = self._settings.admin_token
        given = request.getHeader("Authorization")
        if token is None or not access.bearer_matches(given, token):
            raise Unauthorized

    # --- errors --------------------------------------------------------------------------------------

    @app.handle_errors(Exception)
    def _failed(self, request: Any, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, HTTPException):
            for name, value in error.get_headers():
                if name.lower() == "allow":
                    answers.set_headers(request, {"Allow": value})
            return _json(request, {"error": error.name.lower()}, code=error.code or 500)
        if isinstance(error, Unauthorized):
            answers.set_headers(request, {"WWW-Authenticate": 'Bearer realm="tgsyncd"'})
        code = next((code for kind, code in _ERROR_CODES if isinstance(error, kind)), None)
        if code is None:
            self._log.failure("an API request failed", failure=failure)
            return _json(request, {"error": "internal error; see the log"}, code=500)
        return _json(request, {"error": str(error)}, code=code)


_ERROR_CODES: tuple[tuple[type[Exception], int], ...] = (
    (BadRequest, 400),
    (Unauthorized, 401),
    (Refused, 403),
    (NotFound, 404),
    (TgsyncdError, 500),
)


def _json(request: Request, value: Mapping[str, object], *, code: int = 200) -> bytes:
    return _send_json(request, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n", code=code)


def _compact(value: Mapping[str, object]) -> str:
    # Without indentation json uses its encoder in C, which is ten times as fast.
    return json.dumps(value, ensure_ascii=False, default=str)


def _send_json(request: Request, text: str, *, code: int = 200) -> bytes:
    body = text.encode()
    request.setResponseCode(code)
    answers.set_headers(
        request,
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": NO_CACHE,
        },
    )
    return body
