# SPDX-License-Identifier: MIT
"""Players play on while Telegram stalls, resets connections and answers 502: no error, no frame lost."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from tests.integration.home import in_thread, make_config, running, upload
from tests.integration.players import DURATION_S, make_film
from tests.integration.telegram import a_telegram
from tests.players import ffmpeg, matrix, vlc
from tests.players.browser import watch_page
from tests.players.report import play_in_thread

FRAMES = round(DURATION_S * 24)
CALM = "vlc, without an outage"


class Outage:
    """What happens to Telegram, in the order in which its downloads are begun."""

    def __init__(self, emulator, *, stall_s, down_s):
        self._emulator, self._down_s = emulator, down_s
        self._since = len(emulator.calls("download"))
        self.faults = [
            emulator.faults.add("stall_download", times=1, skip=2, seconds=stall_s, after_bytes=20_000),
            emulator.faults.add("reset_download", times=3, skip=3, after_bytes=30_000),
        ]
        self._looking = LoopingCall(self._look)
        self._looking.start(0.02)

    def _look(self):
        """Answer everything with 502 from the ninth download on, for a while."""
        if len(self._emulator.calls("download")) - self._since >= 9:
            self._looking.stop()
            down = self._emulator.faults.add("error", times=None, code=502)
            self.faults.append(down)
            reactor.callLater(self._down_s, self._emulator.faults.remove, down)

    def stop(self):
        if self._looking.running:
            self._looking.stop()
        self._emulator.faults.clear()


async def play_through(tmp_path, *, stall_s, down_s):
    """Have three players play one film at the same time; return what they made of it, and of the outage."""
    film = await in_thread(make_film, matrix.H264_TS)
    async with a_telegram(tmp_path) as telegram:
        config = make_config(tmp_path, segments={"duration": 4.0}, **telegram.sections())
        async with running(config, listen=False) as app:
            (done,) = await upload(app, film)
        nothing_here = {"heads_bytes": 0, "disk_bytes": 0, "ahead_duration": 4.0}
        cold = config.model_copy(update={"cache": config.cache.model_copy(update=nothing_here)})
        async with running(cold) as app:
            telegram.emulator.state.expire_paths()
            outage = Outage(telegram.emulator, stall_s=stall_s, down_s=down_s)
            playlist, page = (ask(done.outcome.video_id) for ask in (app.playlist_url, app.page_url))
            urls = {ffmpeg.play: playlist, vlc.record: playlist, watch_page: page}
            try:
                reports = await gatherResults(
                    [
                        Deferred.fromCoroutine(
                            play_in_thread(play, url, duration_s=DURATION_S, timeout_s=200 + stall_s + down_s)
                        )
                        for play, url in urls.items()
                    ]
                )
            finally:
                outage.stop()
            calm = await play_in_thread(vlc.record, urls[vlc.record], duration_s=DURATION_S, timeout_s=200)
    struck = [fault.struck for fault in outage.faults]
    return {**{report.player: report for report in reports}, CALM: calm}, struck


def check(reports, struck):
    assert len(struck) == 3
    assert all(struck), struck
    assert reports["ffmpeg"].good, reports["ffmpeg"]
    assert sorted(reports) == ["chromium", "ffmpeg", "vlc", CALM]
    for player, seen in reports.items():
        frames = FRAMES - ("vlc" in player)  # it keeps the last one for itself, outage or not
        assert (seen.whole, seen.frames, seen.errors) == (True, frames, ()), (player, seen)


@pytest.mark.players
@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_players_play_through_an_outage(tmp_path):
    """A short one; a long one is ``python -m benchmarks.playback_outage``."""
    check(*await play_through(tmp_path, stall_s=3.0, down_s=5.0))
