# SPDX-License-Identifier: MIT
"""Films of every packaging, and every player on one of them through our own server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.players import matrix
from tests.players.browser import play_page
from tests.players.report import play_in_thread

CACHE = Path(__file__).parents[2] / ".cache" / "films"
DURATION_S = 30.0

INPUTS = "-f lavfi -i testsrc2=s=320x180:r=24:d=30 -f lavfi -i sine=f=440:d=30:r=48000"
FILMS = {
    matrix.H264_TS: "-c:v libx264 -preset ultrafast -g 48 -c:a aac",
    # An aspect ratio that only the container tells: MPEG-TS would lose it.
    matrix.H264_FMP4: "-vf setsar=4/3 -c:v libx264 -preset ultrafast -g 48 -c:a aac",
    matrix.AV1_FMP4: "-c:v libsvtav1 -preset 12 -g 48 -c:a libopus",
    matrix.VP9_FMP4: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 48 -c:a libopus",
    matrix.HEVC_FMP4: "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=48 -c:a aac",
}


def make_film(packaging: str) -> Path:
    """Thirty seconds of film that our plan packages so; made once."""
    film = CACHE / f"{packaging.replace(' ', '-').lower()}.mkv"
    if not film.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = film.with_suffix(".made.mkv")
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-y", *INPUTS.split(), *FILMS[packaging].split()]
        subprocess.run([*argv, "-pix_fmt", "yuv420p", str(made)], check=True, stdin=subprocess.DEVNULL)
        made.rename(film)
    return film


async def contradictions_of_all(app, video_id: str, packaging: str) -> list[str]:
    """Play a stored film in every player; return what contradicts the table written beforehand."""
    container = app.catalog.renditions(video_id, 1)[0].container
    assert packaging.endswith("TS" if container == "mpegts" else "fMP4")
    contradictions = []
    for player in matrix.PLAYERS:
        url, play = app.playlist_url(video_id), matrix.DRIVERS.get(player)
        if play is None:
            url, play = app.page_url(video_id), play_page
        report = await play_in_thread(play, url, duration_s=DURATION_S, timeout_s=90)
        expected = matrix.MATRIX[player, packaging]
        contradictions.append(expected.contradiction(report))
        if expected.plays and not expected.seeks:
            # The way out for players on FFmpeg 5.1 and 6: the same bytes as one file with Range.
            stream = f"{app.public_url}/stream/{video_id}{container.stream_suffix}"
            report = await play_in_thread(play, stream, duration_s=DURATION_S, timeout_s=90)
            contradictions.append(None if report.good else f"/stream: {report}")
    return [each for each in contradictions if each]
