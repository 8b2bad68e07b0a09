# SPDX-License-Identifier: MIT
"""Our page in headless Chromium: by hls.js, by the browser itself, and what it says when it cannot."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.playback.streams import make_clip, several_languages
from tests.players.browser import play_in_chromium

inline = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.players


@pytest.mark.parametrize("player", ["hls.js", "native"])
@pytest.mark.parametrize("kind", ["h264-ts", "h264-fmp4"])
@inline
async def test_the_page_plays_seeks_and_ends(server, kind, player):
    """Without a complaint, whichever way it plays."""
    await server.add("movie", make_clip(kind), document_bytes=200_000)
    report = await deferToThread(play_in_chromium, f"{server.url}/play/movie", 60, player=player)
    assert report.good, report
    assert report.player == player
    assert (report.width, report.height) == (640, 360)


@pytest.mark.parametrize("sounds", [("aac", "aac"), ("ac3", "aac")])
@inline
async def test_several_sounds_apart(server, sounds):
    """Two languages; AC-3 beside AAC is passed over."""
    renditions = several_languages(*zip(sounds, ("en", "de"), strict=True))
    await server.add("movie", *renditions, document_bytes=200_000)
    report = await deferToThread(play_in_chromium, f"{server.url}/play/movie", 60, player="hls.js")
    assert report.good, report
    assert not [one for one in report.requests if "audio-1/segment" in one and sounds[0] == "ac3"]


@inline
async def test_the_page_names_what_the_browser_cannot_play(server):
    """In words, and without blaming the server."""
    await server.add("movie", make_clip("hevc-fmp4"))
    report = await deferToThread(play_in_chromium, f"{server.url}/play/movie", 60)
    assert not report.played
    assert "cannot play HEVC (H.265) video and AC-3 (Dolby Digital) sound" in report.trouble


@inline
async def test_the_page_of_a_video_in_the_making(server):
    """It says so."""
    await server.add("movie", make_clip("h264-ts"), publish=False)
    report = await deferToThread(play_in_chromium, f"{server.url}/play/movie", 60)
    assert report.trouble == "This video is not ready to play yet."


@inline
async def test_hls_js_waits_for_a_store_in_trouble(server):
    """Twelve seconds without a byte from the store, longer than its timer: the first byte holds it."""
    await server.add("movie", make_clip("h264-ts"), document_bytes=200_000)
    server.store.hold()
    playing = deferToThread(play_in_chromium, f"{server.url}/play/movie", 90, player="hls.js")
    # Real seconds on purpose: it is the browser's own timer that is being outwaited.
    await deferLater(reactor, 14)
    server.store.release()
    report = await playing
    assert report.good, report
    first = [one for one in server.store.opened if (one.file_unique_id, one.start) == ("memory-0", 0)]
    assert len(first) == 1, "it was asked for again"
