# SPDX-License-Identifier: MIT
"""A player that pauses in the middle of a segment and reads the next one late; for longer in benchmarks/."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.playback.raw import eventually
from tests.playback.streams import Server, clip_path, make_clip, with_longer_segments
from tgsyncd.playback.engine import CacheSettings, Engine
from tgsyncd.playback.settings import ServerSettings

FRAMES = ["-map", "0:v", "-f", "framemd5", "-"]


def frames(data):
    return re.findall(rb"^0,.*, ([0-9a-f]{32})$", data, re.MULTILINE)


@pytest_twisted.ensureDeferred
async def test_a_player_that_pauses_loses_no_picture(tmp_path):
    """Longer than every time-out there is: they are short here, as two minutes are long."""

    def make_engine(catalog, store):
        return Engine(catalog, store, reactor, cache=CacheSettings(folder=tmp_path / "cache"))

    settings = ServerSettings(error_delay_s=0.0, request_deadline_s=1.0, idle_timeout_s=1.0)
    server = await Server.start(tmp_path, settings, make_engine=make_engine)
    clip = await deferToThread(make_clip, "noise-ts")
    await server.add("clip", with_longer_segments(clip, 4))
    argv = ["ffmpeg", "-v", "error", "-readrate", "4", "-i", f"{server.url}/playlist/clip.m3u8", *FRAMES]
    out = tmp_path / "frames"
    with out.open("wb") as file:
        player = subprocess.Popen(argv, stdout=file, stdin=subprocess.DEVNULL)  # noqa: ASYNC220 (it returns at once)
    try:
        await eventually(lambda: any(each.stalled_since_s for each in server.site.connections))
        os.kill(player.pid, signal.SIGSTOP)
        await deferLater(reactor, 4)
        assert any(each.stalled_since_s for each in server.site.connections)
        os.kill(player.pid, signal.SIGCONT)
        assert await deferToThread(player.wait, 120) == 0
        original = await deferToThread(
            subprocess.check_output, ["ffmpeg", "-v", "error", "-i", clip_path("noise-ts"), *FRAMES]
        )
        assert frames(out.read_bytes()) == frames(original)
        assert len(frames(original)) == 16 * 25
    finally:
        player.kill()
        player.wait()
        await server.stop()
