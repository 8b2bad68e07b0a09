# SPDX-License-Identifier: MIT
"""What players ask for: a plain resource, to which Klein's tree hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tgsyncd.errors import NotFound, Refused
from tgsyncd.formats import hls
from tgsyncd.playback import answers, pages
from tgsyncd.playback.answers import NO_CACHE, Representation
from tgsyncd.playback.bodies import sliced

if TYPE_CHECKING:
    from twisted.web.server import Request

    from tgsyncd.playback.resources import Playback


class PlayersResource(Resource):
    """Playlists, segments, streams; the page with a player and what it loads; the built-in stream."""

    isLeaf = True  # noqa: N815 (Twisted's name)
    _log = Logger()

    def __init__(self, playback: Playback) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._playback = playback
        self._assets = pages.load_assets()
        self._play_page = pages.load_play_page()

    def render(self, request: Request) -> int:
        """Answer a request, now or later."""
        answers.set_headers(request, answers.CORS_HEADERS)
        if request.method == b"OPTIONS":
            answers.send_preflight(request)
        elif request.method not in answers.READING_METHODS:
            answers.set_headers(request, {"Allow": answers.PLAYBACK_METHODS})
            self._playback.refuse(request, 405, "only GET, HEAD and OPTIONS here")
        else:
            self._read(request)
        return NOT_DONE_YET

    def _read(self, request: Request) -> None:
        url = hls.parse_path(request.path)
        try:
            if url is None:
                self._send_file(request)
            elif isinstance(url, hls.Malformed):
                self._playback.refuse(request, 400, url.reason)
            elif isinstance(url.target, hls.PlayPage):
                self._send_play_page(request, url)
            else:
                self._playback.answer(request, url)
        except NotFound as error:
            self._playback.refuse(request, 404, error.message)
        except Refused as error:
            self._playback.refuse(request, 403, error.message)
        except Exception:  # noqa: BLE001 (the boundary: whatever it is, the player gets JSON, and late)
            self._log.failure("a playback request failed")
            self._playback.refuse(request, 500, "internal error; see the log")

    def _send_file(self, request: Request) -> None:
        if request.path == b"/test-jellyfin.m3u8":
            body = pages.render_test_playlist(self._playback.base_url(request))
            self._playback.send_playlist(request, body, answers.etag_of(body))
            return
        asset = self._assets.get(request.path.decode("latin-1"))
        if asset is None:
            raise NotFound("no such file")
        representation = Representation(
            size_bytes=len(asset.body),
            etag=asset.etag,
            content_type=asset.content_type,
            cache_control=NO_CACHE,
        )
        wanted = answers.begin(request, representation)
        if wanted is not None:
            body = asset.body[wanted.start : wanted.stop]
            self._playback.deliver(request, sliced(body), first_byte=b"", name="a static file")

    def _send_play_page(self, request: Request, url: hls.PlaybackUrl) -> None:
        video = self._playback.admit(url)
        urls = self._playback.urls(video, self._playback.base_url(request), url.capability)
        body = pages.render_play_page(
            self._play_page,
            video,
            self._playback.current_renditions(video),
            playlist_url=urls.get("playlist_url", ""),
            stream_url=urls.get("stream_url", ""),
            is_signed=url.capability is not None,
        )
        policy = {"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY}
        answers.set_headers(request, policy)
        answers.send_bytes(request, 200, body, content_type="text/html; charset=utf-8")
