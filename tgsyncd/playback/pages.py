# SPDX-License-Identifier: MIT
"""
What comes from ``tgsyncd/web``: the page with a player, its script and style, the built-in test stream.

All of it is read once, by names written here; a URL only ever picks from a dictionary.
"""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.model import Rendition, Video

TEST_STREAM_DURATION_S = 4.0
"""Of ``test-jellyfin.ts``; a test measures it."""

# hls.js works in a worker made from a blob and plays from a blob; segments may come from any public URL.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src * blob:; connect-src *; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)

_CONTENT_TYPES = {
    "player.js": "text/javascript; charset=utf-8",
    "hls.min.js": "text/javascript; charset=utf-8",
    "player.css": "text/css; charset=utf-8",
    "test-jellyfin.ts": "video/mp2t",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A static file."""

    body: bytes
    content_type: str
    etag: str


def load_assets() -> Mapping[str, Asset]:
    """
    Read the static files by URL path.

    ``hls.min.js`` may be missing in a checkout that was not set up: the page then plays where the browser
    can play HLS by itself, and says so elsewhere.
    """
    assets = {}
    for name, content_type in _CONTENT_TYPES.items():
        source = files("tgsyncd.web").joinpath(name)
        if source.is_file():
            body = source.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            assets[f"/static/{name}"] = Asset(body=body, content_type=content_type, etag=etag)
    return assets


def load_play_page() -> Template:
    """Read the template of the page with a player."""
    return Template(files("tgsyncd.web").joinpath("player.html").read_text(encoding="utf-8"))


def render_play_page(
    template: Template,
    video: Video,
    renditions: Sequence[Rendition],
    *,
    playlist_url: str,
    stream_url: str,
    is_signed: bool,
) -> bytes:
    """Render the page with a player. Links to our own files are relative: a proxy may put us under a path."""
    title = PurePosixPath(video.original_filename).stem or video.video_id
    values = {
        "title": title,
        "playlist_url": playlist_url,
        "stream_url": stream_url,
        "playlist": f"../playlist/{video.video_id}.m3u8",
        "static": "../../../static" if is_signed else "../static",
        "facts": _facts(renditions),
        "codecs": json.dumps([item.codecs for item in renditions if item.codecs]),
    }
    escaped = {name: html.escape(value) for name, value in values.items()}
    return template.substitute(escaped).encode()


def render_test_playlist(base_url: str) -> bytes:
    """Render the playlist of the built-in stream."""
    return (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        f"#EXTINF:{TEST_STREAM_DURATION_S:.6f},\n{base_url}/static/test-jellyfin.ts\n"
        "#EXT-X-ENDLIST\n"
    ).encode()


def _facts(renditions: Sequence[Rendition]) -> str:
    """Say in a line what is played, such as ``1920 x 1080, 1:52:03``."""
    if not renditions:
        return ""
    main = renditions[0]
    seconds = round(main.duration_s)
    duration = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    picture = f"{main.width} × {main.height}, " if main.width and main.height else ""  # noqa: RUF001 (the sign)
    return picture + duration
