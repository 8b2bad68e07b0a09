# SPDX-License-Identifier: MIT
"""
HLS as text: the grammar of our URLs, and media playlists (RFC 8216). Pure.

A URL path is parsed raw, as it came over the wire: nothing is percent-decoded, because no character of a
valid path ever needs encoding. So ``%2e``, ``%5c``, overlong UTF-8, NUL and ``;params`` cannot become
anything but ``Malformed``, and what a path does become is a frozen value of typed ids.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.model import Container, VideoId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tgsyncd.model import Rendition, Segment

PLAYLIST_CONTENT_TYPE = "application/vnd.apple.mpegurl"

_VIDEO_ID = r"[a-z0-9][a-z0-9._-]{0,99}"
_REVISION = r"[1-9][0-9]{0,8}"
_RENDITION = r"[a-z0-9][a-z0-9-]{0,31}"
_ORDER = r"[0-9]{4}|[1-9][0-9]{4,8}"
_SUFFIX = r"\.ts|\.m4s"

CAPABILITY_PATTERN = r"[A-Za-z0-9_-]{32}"
"""24 bytes as base64url: 192 bits, see ``playback.access.capability_for``."""


# --- the grammar of URLs -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlaylist:
    """The playlist of the current revision: media, or multivariant when there are several renditions."""

    video_id: VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionPlaylist:
    """The media playlist of one rendition of one revision."""

    video_id: VideoId
    revision: int
    rendition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentUrl:
    """A media segment of one revision: its bytes never change, so it may be cached for ever."""

    video_id: VideoId
    revision: int
    rendition: str
    order: int
    container: Container


@dataclass(frozen=True, slots=True, kw_only=True)
class InitUrl:
    """The initialization section of an fMP4 rendition."""

    video_id: VideoId
    revision: int
    rendition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortSegmentUrl:
    """A media segment of whatever revision is current, of its main rendition: not to be cached."""

    video_id: VideoId
    order: int
    container: Container


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamUrl:
    """The whole stream of the current revision's main rendition."""

    video_id: VideoId
    container: Container


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayPage:
    """The page with a player."""

    video_id: VideoId


Target = VideoPlaylist | RenditionPlaylist | SegmentUrl | InitUrl | ShortSegmentUrl | StreamUrl | PlayPage
"""What a playback URL names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackUrl:
    """A playback URL's path: what it names, and the capability it carries, if any."""

    target: Target
    capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A path under our playback routes that names nothing: a 400."""

    reason: str


_PREFIXES = (b"/p/", b"/playlist/", b"/segment/", b"/stream/", b"/play/")
_GRAMMAR = re.compile(
    rf"""
    (?: /p/(?P<capability>{CAPABILITY_PATTERN}) )?
    (?:
        /playlist/ (?:
            (?P<playlist_of>{_VIDEO_ID}) \.m3u8
          | (?P<rp_video>{_VIDEO_ID}) / (?P<rp_revision>{_REVISION}) / (?P<rp_rendition>{_RENDITION}) \.m3u8
        )
      | /segment/ (?P<seg_video>{_VIDEO_ID})
        (?: / (?P<seg_revision>{_REVISION}) / (?P<seg_rendition>{_RENDITION}) )?
        / (?: (?P<init>init\.mp4) | segment_(?P<order>{_ORDER})(?P<suffix>{_SUFFIX}) )
      | /stream/ (?P<stream_of>{_VIDEO_ID}) (?P<stream_suffix>\.ts|\.mp4)
      | /play/ (?P<page_of>{_VIDEO_ID})
    )
    """,
    re.VERBOSE | re.ASCII,
)


def parse_path(raw_path: bytes) -> PlaybackUrl | Malformed | None:
    """
    Parse a URL path as it came over the wire, without its query. Never raises.

    Returns
        What it names; Malformed under our routes when it names nothing; None when it is no playback
        route at all.
    """
    if not raw_path.startswith(_PREFIXES):
        return None
    match = _GRAMMAR.fullmatch(raw_path.decode("latin-1"))
    if match is None:
        return Malformed(reason="no such form of URL")
    target = _target(match)
    if target is None:
        return Malformed(reason="init.mp4 belongs to a revision and a rendition")
    return PlaybackUrl(target=target, capability=match["capability"])


def _target(match: re.Match[str]) -> Target | None:
    if match["playlist_of"]:
        return VideoPlaylist(video_id=VideoId(match["playlist_of"]))
    if match["rp_video"]:
        return RenditionPlaylist(
            video_id=VideoId(match["rp_video"]),
            revision=int(match["rp_revision"]),
            rendition=match["rp_rendition"],
        )
    if match["stream_of"]:
        return StreamUrl(
            video_id=VideoId(match["stream_of"]),
            container=_STREAM_CONTAINERS[match["stream_suffix"]],
        )
    if match["page_of"]:
        return PlayPage(video_id=VideoId(match["page_of"]))
    return _segment_target(match)


def _segment_target(match: re.Match[str]) -> Target | None:
    video_id = VideoId(match["seg_video"])
    revision = match["seg_revision"]
    if match["init"]:
        if not revision:
            return None
        return InitUrl(video_id=video_id, revision=int(revision), rendition=match["seg_rendition"])
    order, container = int(match["order"]), _SEGMENT_CONTAINERS[match["suffix"]]
    if not revision:
        return ShortSegmentUrl(video_id=video_id, order=order, container=container)
    return SegmentUrl(
        video_id=video_id,
        revision=int(revision),
        rendition=match["seg_rendition"],
        order=order,
        container=container,
    )


def parse_segment_filename(name: bytes) -> tuple[int, Container] | None:
    """Return the order and the container in the last part of a segment's URL; None where there are none."""
    match = _SEGMENT_NAME.fullmatch(name)
    return (int(match[1]), _SEGMENT_CONTAINERS[match[2].decode("ascii")]) if match else None


_SEGMENT_NAME = re.compile(rf"segment_({_ORDER})({_SUFFIX})".encode("ascii"))
_SEGMENT_CONTAINERS = {container.segment_suffix: container for container in Container}
_STREAM_CONTAINERS = {container.stream_suffix: container for container in Container}


def render_path(target: Target, capability: str | None = None) -> str:
    """Render the path of a playback URL; ``parse_path`` is its inverse."""
    prefix = f"/p/{capability}" if capability else ""
    return prefix + _bare_path(target)


def _bare_path(target: Target) -> str:
    if isinstance(target, VideoPlaylist):
        path = f"/playlist/{target.video_id}.m3u8"
    elif isinstance(target, RenditionPlaylist):
        path = f"/playlist/{_directory(target)}.m3u8"
    elif isinstance(target, SegmentUrl):
        path = f"/segment/{_directory(target)}/{_filename(target)}"
    elif isinstance(target, InitUrl):
        path = f"/segment/{_directory(target)}/init.mp4"
    elif isinstance(target, ShortSegmentUrl):
        path = f"/segment/{target.video_id}/{_filename(target)}"
    elif isinstance(target, StreamUrl):
        path = f"/stream/{target.video_id}{target.container.stream_suffix}"
    else:
        path = f"/play/{target.video_id}"
    return path


def _directory(target: RenditionPlaylist | SegmentUrl | InitUrl) -> str:
    return f"{target.video_id}/{target.revision}/{target.rendition}"


def _filename(target: SegmentUrl | ShortSegmentUrl) -> str:
    return segment_filename(target.order, target.container)


def segment_filename(order: int, container: Container) -> str:
    """Return the last part of a segment's URL, such as ``segment_0000.ts``."""
    return f"segment_{order:04d}{container.segment_suffix}"


def is_video_id(text: str) -> bool:
    """Tell whether the text has the form of a video_id."""
    return re.fullmatch(_VIDEO_ID, text, re.ASCII) is not None


def segment_content_type(container: Container) -> str:
    """
    Return the content type of segments, the initialization section and the stream.

    ``video/mp4`` also for ``.m4s``: hls.js and ffmpeg look at the bytes, but ExoPlayer and Kodi look at the
    type, and ``video/iso.segment`` is DASH's name for it (docs/players.md).
    """
    return "video/mp2t" if container is Container.MPEGTS else "video/mp4"


# --- playlists ---------------------------------------------------------------------------------------


def render_media_playlist(
    rendition: Rendition,
    segments: Iterable[Segment],
    *,
    base_url: str,
    capability: str | None = None,
    gaps: Collection[int] = (),
) -> str:
    """
    Render the media playlist of one rendition, with absolute URLs.

    ``gaps`` are the orders of segments that cannot be had: EXT-X-GAP (rfc8216bis, 4.4.4.7) has players pass
    over them.

    Absolute, because Jellyfin's static proxy hands the text out under its own URL, where relative ones
    would break. ``base_url`` has no slash at its end.
    """
    prefix = _segment_prefix(rendition, base_url, capability)
    suffix = rendition.container.segment_suffix
    entries: list[str] = []
    target_duration_s = 1
    for segment in segments:
        # The rule speaks of what is written: 6.4999999 is written 6.500000, which rounds to 7.
        duration_s = round(max(segment.duration_s, 0.0), 6)
        target_duration_s = max(target_duration_s, math.floor(duration_s + 0.5))
        if segment.discontinuity and entries:
            entries.append("#EXT-X-DISCONTINUITY\n")
        if segment.order in gaps:
            entries.append("#EXT-X-GAP\n")
        entries.append(f"#EXTINF:{duration_s:.6f},\n{prefix}segment_{segment.order:04d}{suffix}\n")
    head = _media_head(rendition, target_duration_s, prefix)
    return f"{head}{''.join(entries)}#EXT-X-ENDLIST\n"


def _segment_prefix(rendition: Rendition, base_url: str, capability: str | None) -> str:
    init = InitUrl(video_id=rendition.video_id, revision=rendition.revision, rendition=rendition.name)
    return base_url + render_path(init, capability).removesuffix("init.mp4")


def _media_head(rendition: Rendition, target_duration_s: int, prefix: str) -> str:
    is_fmp4 = rendition.container is Container.FMP4
    lines = [
        "#EXTM3U",
        # EXT-X-MAP outside I-frame playlists needs 6; Apple's validator asks 7 of fMP4.
        f"#EXT-X-VERSION:{7 if is_fmp4 else 6}",
        f"#EXT-X-TARGETDURATION:{target_duration_s}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]
    if rendition.independent_segments:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if is_fmp4:
        lines.append(f'#EXT-X-MAP:URI="{prefix}init.mp4"')
    return "\n".join(lines) + "\n"
