# SPDX-License-Identifier: MIT
"""Multivariant playlists (RFC 8216, 4.3.4): one video as several renditions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.formats.hls import RenditionPlaylist, render_path
from tgsyncd.model import RenditionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.model import Rendition

_BROWSER_SOUND = ("mp4a.40.2", "mp4a.40.5", "mp4a.40.29", "opus", "flac")  # not MP3

_AUDIO_CODECS = ("mp4a", "ac-3", "ec-3", "opus", "flac", "alac", "dts", "mlpa", ".mp3")


def render_multivariant_playlist(
    renditions: Sequence[Rendition], *, base_url: str, capability: str | None = None
) -> str:
    """
    Render the multivariant playlist: each picture once, with all sounds in one group.

    Where browsers do not play the default sound, each codec has a group and a variant: hls.js gives up when
    all CODECS name ac-3, and passes over one that does. (RFC 8216, 4.3.4.1.1, wants equal groups.)
    """
    pictures = [item for item in renditions if item.kind is not RenditionKind.AUDIO]
    groups = _audio_groups([item for item in renditions if item.kind is RenditionKind.AUDIO])
    lines = ["#EXTM3U", "#EXT-X-VERSION:6"]
    if all(item.independent_segments for item in renditions):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    for group, members in groups.items():
        lines.extend(_media_lines(group, members, base_url, capability))
    for picture in pictures:
        uri = base_url + render_path(_playlist_of(picture), capability)
        if not groups or _codecs(picture, audio=True):
            lines += [_stream_inf(picture, "", ()), uri]
        for group, members in groups.items():
            lines += [_stream_inf(picture, group, members), uri]
    return "\n".join(lines) + "\n"


def _audio_groups(renditions: Sequence[Rendition]) -> dict[str, list[Rendition]]:
    """Group all together, or by the codec's family: then those that browsers play first."""
    default = next((item for item in renditions if item.is_default), None)
    if default is not None and _plays_in_browsers(default):
        return {"audio": list(renditions)}
    groups: dict[str, list[Rendition]] = {}
    for item in sorted(renditions, key=lambda item: not _plays_in_browsers(item)):
        family = item.codecs.split(".")[0] if item.codecs else "unknown"
        groups.setdefault(f"audio-{family}", []).append(item)
    return groups


def _plays_in_browsers(rendition: Rendition) -> bool:
    return rendition.codecs.lower() in _BROWSER_SOUND


def _media_lines(
    group: str, members: Sequence[Rendition], base_url: str, capability: str | None
) -> list[str]:
    default = next((item for item in members if item.is_default), members[0])
    lines, names = [], set[str]()
    for item in members:
        name = _quotable(item.title or item.language or item.name)
        if name in names:  # NAME must be unique in its group (RFC 8216, 4.3.4.1.1)
            name = f"{name} ({item.name})"
        names.add(name)
        language = f',LANGUAGE="{_quotable(item.language)}"' if item.language else ""
        uri = base_url + render_path(_playlist_of(item), capability)
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{group}",NAME="{name}"{language},'
            f'DEFAULT={"YES" if item is default else "NO"},AUTOSELECT=YES,URI="{uri}"'
        )
    return lines


def _stream_inf(picture: Rendition, group: str, members: Sequence[Rendition]) -> str:
    peak = picture.bandwidth + max((item.bandwidth for item in members), default=0)
    average = picture.average_bandwidth + max((item.average_bandwidth for item in members), default=0)
    attributes = [f"BANDWIDTH={max(peak, 1)}"]
    if average:
        attributes.append(f"AVERAGE-BANDWIDTH={average}")
    video = _codecs(picture, audio=False)
    # Without what browsers do not play, where they play the others: hls.js passes over what names it.
    named = [item for item in members if _plays_in_browsers(item)] or members
    audio = list(dict.fromkeys(item.codecs for item in named if item.codecs))
    codecs = [*video, *(audio if members else _codecs(picture, audio=True))]
    if video and (not members or audio):  # half a list would be a lie: hls.js believes it
        attributes.append(f'CODECS="{",".join(codecs)}"')
    if picture.width and picture.height:
        attributes.append(f"RESOLUTION={picture.width}x{picture.height}")
    if picture.frame_rate > 0:
        attributes.append(f"FRAME-RATE={picture.frame_rate:.3f}")
    if group:
        attributes.append(f'AUDIO="{group}"')
    return "#EXT-X-STREAM-INF:" + ",".join(attributes)


def _codecs(rendition: Rendition, *, audio: bool) -> list[str]:
    codecs = [codec.strip() for codec in rendition.codecs.split(",") if codec.strip()]
    return [codec for codec in codecs if codec.lower().startswith(_AUDIO_CODECS) is audio]


def _playlist_of(rendition: Rendition) -> RenditionPlaylist:
    return RenditionPlaylist(
        video_id=rendition.video_id, revision=rendition.revision, rendition=rendition.name
    )


def _quotable(text: str) -> str:
    """Drop what a quoted-string may not hold (RFC 8216, 4.2), and other control characters."""
    return "".join("'" if character == '"' else character for character in text if character.isprintable())
