# SPDX-License-Identifier: MIT
"""What playback URLs name, as answers: playlists, segments, streams."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tgsyncd.errors import CatalogError, NotFound, Refused
from tgsyncd.formats import hls
from tgsyncd.formats.http_range import if_none_match_hits
from tgsyncd.formats.multivariant import render_multivariant_playlist
from tgsyncd.model import Container
from tgsyncd.playback import access, answers
from tgsyncd.playback.answers import IMMUTABLE, NO_CACHE, Representation
from tgsyncd.playback.bodies import CHUNK_BYTES, can_send_files, deliver, sliced, verified
from tgsyncd.playback.remembered import Folder, Folders, PlaylistCache
from tgsyncd.playback.settings import AuthMode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

    from tgsyncd.model import Rendition, Segment, Video, VideoId
    from tgsyncd.playback.engine import Engine
    from tgsyncd.playback.pieces import Piece
    from tgsyncd.playback.settings import ServerSettings
    from tgsyncd.playback.spans import FileSpan
    from tgsyncd.ports import CatalogReader

_CONDITIONS = (b"Range", b"If-None-Match")
_TS_PACKET_BYTES = 188
_PLAYLIST_CACHE_BYTES = 8 << 20
"""Playlists of about forty films (1,200 segments at 90 bytes each, in two or so forms)."""


class Playback:
    """Answers requests for what ``hls.parse_path`` recognised."""

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        reader: CatalogReader,
        engine: Engine,
        settings: ServerSettings,
    ) -> None:
        self._reactor = reactor
        self._reader = reader
        self._engine = engine
        self._settings = settings
        self._playlists = PlaylistCache(_PLAYLIST_CACHE_BYTES)
        self._folders = Folders(reader)

    @property
    def engine(self) -> Engine:
        """What it reads from."""
        return self._engine

    def answer(self, request: Request, url: hls.PlaybackUrl) -> None:
        """
        Answer a GET or HEAD request for anything but a page.

        Raises NotFound or Refused before anything is sent.
        """
        self._send(request, url, self.admit(url))

    def answer_at_once(self, request: Request) -> bool:
        """
        Answer a GET request for a whole segment that is at hand; return whether it was one.

        That is what players ask for again and again: what ``answer`` would send, at a third of its cost.
        """
        if request.method != b"GET" or any(map(request.requestHeaders.hasHeader, _CONDITIONS)):
            return False
        try:
            found = self._find_at_hand(request)
        except (CatalogError, OSError):
            return False  # `answer` meets it too, and says so
        if found is None:
            return False
        folder, piece, spans = found
        own = {"ETag": answers.segment_etag(piece.sha256), "Content-Length": f"{piece.size_bytes}"}
        answers.set_headers(request, folder.headers)
        answers.set_headers(request, own)
        self.deliver(request, spans, first_byte=b"", name=_name(folder.rendition, piece.offset))
        return True

    def _find_at_hand(self, request: Request) -> tuple[Folder, Piece, AsyncGenerator[FileSpan, None]] | None:
        found = self._folders.find(request.path)
        if found is None or not can_send_files(request):
            return None
        folder, order = found
        at_hand = self._engine.at_hand(folder.rendition, order, viewer=getattr(request.channel, "client", ""))
        return None if at_hand is None else (folder, *at_hand)

    def refuse(self, request: Request, code: int, message: str) -> None:
        """Answer with an error, after the delay that players need."""
        answers.send_error_later(self._reactor, self._settings.error_delay_s, request, code, message)

    def admit(self, url: hls.PlaybackUrl) -> Video:
        """
        Return the video that the URL names, if its holder may read it.

        Raises
            Refused without the right capability, also for unknown videos; NotFound.
        """
        video_id = url.target.video_id
        video = self._reader.video(video_id)
        if self._settings.auth is AuthMode.SIGNED and not access.capability_opens(
            url.capability,
            secret=self._settings.capability_secret,
            video_id=video_id,
            generation=video.capability_generation if video else 0,
        ):
            raise Refused("this URL does not carry the right capability")
        if video is None:
            raise NotFound("no such video")
        return video

    def base_url(self, request: Request) -> str:
        """Return the base of absolute URLs in the answer to this request."""
        return access.choose_base_url(
            request.getHeader("Host"),
            self._settings.public_urls,
            is_secure=bool(request.isSecure()),
        )

    def capability(self, video: Video) -> str | None:
        """Return the capability that opens the video, where one is needed."""
        if self._settings.auth is not AuthMode.SIGNED:
            return None
        return access.capability_for(
            self._settings.capability_secret, video.video_id, video.capability_generation
        )

    def current_renditions(self, video: Video) -> list[Rendition]:
        """Return the complete renditions of the revision that plays, the main one first."""
        if video.current_revision is None:
            return []
        renditions = self._reader.renditions(video.video_id, video.current_revision)
        return [rendition for rendition in renditions if rendition.is_complete]

    def urls(self, video: Video, base_url: str, capability: str | None) -> dict[str, str]:
        """Return the absolute URLs by which a video is played; none while it is not ready."""
        renditions = self.current_renditions(video)
        if not renditions:
            return {}
        targets: dict[str, hls.Target] = {
            "playlist_url": hls.VideoPlaylist(video_id=video.video_id),
            "stream_url": hls.StreamUrl(video_id=video.video_id, container=renditions[0].container),
            "page_url": hls.PlayPage(video_id=video.video_id),
        }
        return {name: base_url + hls.render_path(target, capability) for name, target in targets.items()}

    def send_playlist(self, request: Request, body: bytes, etag: str) -> None:
        """Answer with a playlist."""
        answers.set_headers(
            request,
            {
                "Content-Type": hls.PLAYLIST_CONTENT_TYPE,
                "Cache-Control": NO_CACHE,
                "ETag": etag,
                # The URLs inside depend on the Host that was asked.
                "Vary": "Host",
            },
        )
        if if_none_match_hits(request.getHeader("If-None-Match"), etag):
            request.setResponseCode(304)
            request.finish()
        elif request.method == b"HEAD":
            request.finish()
        elif len(body) <= CHUNK_BYTES:
            # No Content-Length: ffprobe would compute a bit rate from it, and Jellyfin store that.
            # No Range: VLC asks for one, and takes the whole.
            request.write(body)
            request.finish()
        else:
            self.deliver(request, sliced(body), first_byte=b"", name="a playlist")

    def deliver(
        self,
        request: Request,
        chunks: AsyncGenerator[bytes | FileSpan, None],
        *,
        first_byte: bytes,
        name: str,
    ) -> None:
        """Send a body whose headers are set."""
        deliver(
            request,
            chunks,
            first_byte=first_byte,
            name=name,
            reactor=self._reactor,
            abort_delay_s=self._settings.error_delay_s,
        )

    # --- what a URL names ----------------------------------------------------------------------------

    def _send(self, request: Request, url: hls.PlaybackUrl, video: Video) -> None:
        target = url.target
        if isinstance(target, hls.SegmentUrl):
            rendition = self._rendition(target.video_id, target.revision, target.rendition)
            self._send_segment(request, rendition, target.order, target.container, IMMUTABLE)
        elif isinstance(target, hls.ShortSegmentUrl):
            rendition = self._main(video)
            self._send_segment(request, rendition, target.order, target.container, NO_CACHE)
        elif isinstance(target, hls.InitUrl):
            self._send_init(request, self._rendition(target.video_id, target.revision, target.rendition))
        elif isinstance(target, hls.StreamUrl):
            self._send_stream(request, self._main(video), target.container)
        elif isinstance(target, hls.RenditionPlaylist):
            rendition = self._rendition(target.video_id, target.revision, target.rendition)
            self._send_playlist(request, [rendition], url.capability)
        else:
            self._main(video)
            self._send_playlist(request, self.current_renditions(video), url.capability)

    def _rendition(self, video_id: VideoId, revision: int, name: str) -> Rendition:
        rendition = self._reader.rendition(video_id, revision, name)
        if rendition is None or not rendition.is_complete:
            raise NotFound("no such revision or rendition")
        return rendition

    def _main(self, video: Video) -> Rendition:
        renditions = self.current_renditions(video)
        if not renditions:
            raise NotFound(f"this video is not ready to play yet ({video.stage})")
        return renditions[0]

    # --- bodies --------------------------------------------------------------------------------------

    def _send_playlist(self, request: Request, renditions: list[Rendition], capability: str | None) -> None:
        base_url = self.base_url(request)
        gaps = self._engine.lost_orders(renditions[0]) if len(renditions) == 1 else frozenset()
        key = (base_url, capability, tuple(renditions), gaps)
        body, etag = self._playlists.get(key) or self._playlists.put(
            key, self._render(renditions, base_url, capability, gaps)
        )
        self.send_playlist(request, body, etag)

    def _render(
        self, renditions: list[Rendition], base_url: str, capability: str | None, gaps: frozenset[int]
    ) -> bytes:
        if len(renditions) > 1:
            text = render_multivariant_playlist(renditions, base_url=base_url, capability=capability)
        else:
            segments = self._reader.segments(renditions[0].rendition_id)
            text = hls.render_media_playlist(
                renditions[0], segments, base_url=base_url, capability=capability, gaps=gaps
            )
        return text.encode()

    def _send_segment(
        self,
        request: Request,
        rendition: Rendition,
        order: int,
        container: Container,
        cache_control: str,
    ) -> None:
        segment = self._reader.segment(rendition.rendition_id, order)
        if segment is None or container is not rendition.container:
            raise NotFound("no such segment")
        representation = Representation(
            size_bytes=segment.size_bytes,
            etag=answers.segment_etag(segment.sha256),
            content_type=hls.segment_content_type(container),
            cache_control=cache_control,
        )
        if self._engine.verifies:  # elsewhere nothing is ever at hand
            same = {**answers.COMMON_HEADERS, **answers.CORS_HEADERS, **answers.headers_of(representation)}
            self._folders.keep(request.path, Folder(rendition=rendition, headers=same))
        self._send_range(request, rendition, segment.offset, representation, segment)

    def _send_init(self, request: Request, rendition: Rendition) -> None:
        if not rendition.init_bytes:
            raise NotFound("an MPEG-TS rendition has no initialization section")
        representation = Representation(
            size_bytes=rendition.init_bytes,
            etag=self._stream_etag(rendition, "init"),
            content_type=hls.segment_content_type(rendition.container),
            cache_control=IMMUTABLE,
        )
        self._send_range(request, rendition, 0, representation)

    def _send_stream(self, request: Request, rendition: Rendition, container: Container) -> None:
        if container is not rendition.container:
            raise NotFound(f"the stream of this video ends in {rendition.container.stream_suffix}")
        representation = Representation(
            size_bytes=rendition.stream_bytes,
            etag=self._stream_etag(rendition, "stream"),
            content_type=hls.segment_content_type(container),
            cache_control=NO_CACHE,
        )
        self._send_range(request, rendition, 0, representation)

    def _stream_etag(self, rendition: Rendition, what: str) -> str:
        """Return an ETag from the sha256 of the documents that hold the stream."""
        digest = hashlib.sha256(what.encode())
        for document in self._reader.documents(rendition.rendition_id):
            digest.update(f"\0{document.offset} {document.length} {document.ref.sha256}".encode())
        return f'"{digest.hexdigest()[:32]}"'

    def _send_range(
        self,
        request: Request,
        rendition: Rendition,
        offset: int,
        representation: Representation,
        segment: Segment | None = None,
    ) -> None:
        """Send what is asked of the stream's bytes from ``offset`` on."""
        body = answers.begin(request, representation)
        if body is None:
            return
        viewer = getattr(request.channel, "client", "")
        start, stop = offset + body.start, offset + body.stop
        is_whole = segment is not None and body.stop - body.start == segment.size_bytes
        engine = self._engine
        chunks: AsyncGenerator[bytes | FileSpan, None]
        if engine.verifies and can_send_files(request):
            chunks = engine.open_spans(rendition, start, stop, viewer=viewer)
        else:
            chunks = plain = engine.open(rendition, start, stop, viewer=viewer)
            if segment is not None and is_whole and not engine.verifies:
                chunks = verified(plain, size_bytes=segment.size_bytes, sha256=segment.sha256)
        self.deliver(
            request,
            chunks,
            first_byte=_known_byte(rendition.container, body.start),
            name=_name(rendition, offset),
        )


def _name(rendition: Rendition, offset: int) -> str:
    """Return what the log calls these bytes."""
    return f"{rendition.video_id}/{rendition.revision}/{rendition.name} at {offset}"


def _known_byte(container: Container, position: int) -> bytes:
    """
    Return the byte at this position of a segment or stream, where the format fixes it.

    Every TS packet begins with 0x47. fMP4 begins with the length of a box, less than 16 MiB: ftyp or moof.
    """
    if container is Container.MPEGTS:
        return b"\x47" if position % _TS_PACKET_BYTES == 0 else b""
    return b"\x00" if position == 0 else b""
