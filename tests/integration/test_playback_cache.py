# SPDX-License-Identifier: MIT
"""Playback over the Bot API emulator: what reaches Telegram when many watch, and when Jellyfin probes."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import Agent, HTTPConnectionPool

from tests.integration.home import in_thread, make_config, running, upload
from tests.integration.telegram import a_telegram

CLIPS = Path(__file__).parents[2] / ".cache" / "clips"
CLIENTS = 200
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 12)]

# 8 Mbit/s of noise, so that segments are as large as those of a film; a rotated picture goes into fMP4.
CONTAINERS = {"ts": [], "fmp4": ["-display_rotation:v:0", "90"]}


def make_film(container):
    """Make (once) half a minute at 8 Mbit/s."""
    path = CLIPS / f"eight-mbit-{container}.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = path.with_name("eight-mbit-plain.mp4")
        source = "testsrc2=s=640x360:r=25:d=24,noise=alls=60:allf=t"
        sound = ["-f", "lavfi", "-i", "sine=f=440:r=48000:d=24", "-c:a", "aac"]
        rate = "-b:v 8M -minrate 8M -maxrate 8M -bufsize 8M -x264-params nal-hrd=cbr -g 50 -threads 2"
        argv = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *sound, "-pix_fmt", "yuv420p"]
        argv += ["-c:v", "libx264", "-preset", "ultrafast", *rate.split(), str(plain)]
        subprocess.run(argv, check=True, timeout=120)
        turn = ["-metadata:s:v:0", "rotate=90"] if container == "fmp4" else []
        argv = ["ffmpeg", "-v", "error", "-y", "-i", str(plain), "-c", "copy", *turn, str(path)]
        subprocess.run(argv, check=True, timeout=60)
    return path


def sections(telegram):
    """Documents as large as by default."""
    return {key: value for key, value in telegram.sections().items() if key != "documents"}


@asynccontextmanager
async def a_client():
    """HTTP with as many connections as are wanted, from several addresses in turn; closed at the end."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    agents = [Agent(reactor, pool=pool, bindAddress=address) for address in ADDRESSES]
    turns = itertools.cycle(treq.client.HTTPClient(agent) for agent in agents)
    try:
        yield lambda: next(turns)
    finally:
        await pool.closeCachedConnections()


def make_slow(telegram, latency_s):
    """What a good line to Telegram is like: 50 Mbit/s a connection, getFile at 400 Mbit/s."""
    telegram.emulator.state.expire_paths()
    telegram.emulator.knobs.change(
        latency_s=latency_s, download_bytes_per_s=50_000_000 // 8, get_file_s_per_mib=8 * 1.05 / 400
    )


def without_cache(tmp_path, name):
    return {"cache_dir": tmp_path / name}


@pytest_twisted.ensureDeferred
async def test_two_hundred_clients_of_a_cold_document_are_one_get_file_and_one_download(tmp_path):
    """Each of them gets all of it."""
    film = await in_thread(make_film, "ts")
    async with a_telegram(tmp_path) as telegram:
        config = make_config(tmp_path, **sections(telegram))
        async with running(config, listen=False) as app:
            (done,) = await upload(app, film)
        cold = config.model_copy(update=without_cache(tmp_path, "cold"))
        async with running(cold) as app, a_client() as client:
            make_slow(telegram, latency_s=0.2)
            since = len(telegram.emulator.calls())
            rendition = app.catalog.renditions(done.outcome.video_id, 1)[0]
            segment = app.catalog.segments(rendition.rendition_id)[-1]
            (document,) = app.catalog.documents_covering(rendition.rendition_id, segment.offset, segment.end)
            url = app.playlist_url(done.outcome.video_id)
            url = url.replace("/playlist/", "/segment/").replace(".m3u8", f"/segment_{segment.order:04}.ts")

            async def fetch():
                answer = await client().get(url)
                return answer.code, hashlib.sha256(await answer.content()).hexdigest()

            answers = await gatherResults([Deferred.fromCoroutine(fetch()) for _ in range(CLIENTS)])

            assert set(answers) == {(200, segment.sha256)}
            calls = [call.method for call in telegram.emulator.calls()[since:]]
            assert calls == ["getfile", "download"], document
            report = app.engine.report()
            assert (report["misses"], report["joined"]) == (1, CLIENTS - 1)


@pytest_twisted.ensureDeferred
async def test_another_bot_plays_when_one_does_not_answer(tmp_path):
    """getFile of the first never comes: the second is asked when that is late, and the film goes on."""
    film = await in_thread(make_film, "ts")
    async with a_telegram(tmp_path, bots=2) as telegram:
        config = make_config(tmp_path, **sections(telegram))
        async with running(config, listen=False) as app:
            (done,) = await upload(app, film)
        cold = config.model_copy(update=without_cache(tmp_path, "cold"))
        async with running(cold) as app, a_client() as client:
            rendition = app.catalog.renditions(done.outcome.video_id, 1)[0]
            # Who asks for segment 1 is a probe as yet: nothing is asked ahead for him.
            segment = app.catalog.segments(rendition.rendition_id)[1]
            document, *_ = app.catalog.documents_covering(rendition.rendition_id, segment.offset, segment.end)
            assert len(document.ref.file_ids) == 2
            first = min(document.ref.file_ids)
            stall = telegram.emulator.faults.add("stall", method="getFile", bot_id=first, times=None)
            url = app.playlist_url(done.outcome.video_id)
            url = url.replace("/playlist/", "/segment/").replace(".m3u8", f"/segment_{segment.order:04}.ts")
            answer = await client().get(url)
            assert hashlib.sha256(await answer.content()).hexdigest() == segment.sha256
            report = app.engine.report()
            assert stall.struck == 1
            assert (report["hedges"], report["hedges_won"]) == (1, 1)
            telegram.emulator.faults.clear()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest_twisted.ensureDeferred
async def test_a_probe_as_jellyfin_does_it_asks_telegram_for_nothing(tmp_path, container):
    """Its head was pinned when it was ingested, at no cost; and the probe finds what is there."""
    film = await in_thread(make_film, container)
    async with a_telegram(tmp_path) as telegram:
        config = make_config(tmp_path, cache={"disk_bytes": 0}, **sections(telegram))
        async with running(config, listen=False) as app:
            (done,) = await upload(app, film)
            video_id = done.outcome.video_id
            # What was read is the verification's: the head came from the spool.
            assert app.engine.report()["bytes_fetched"] == 0
            assert app.engine.report()["heads"]["files"] == (2 if container == "ts" else 3)
        async with running(config) as app:
            make_slow(telegram, latency_s=1.5)
            since = len(telegram.emulator.calls())

            found = await in_thread(probe, app.playlist_url(video_id))

            assert found.count("codec_type=") == 2, found
            assert telegram.emulator.calls()[since:] == []
            assert app.engine.report()["bytes_fetched"] == 0


def probe(url):
    argv = ["ffprobe", "-v", "error", "-analyzeduration", "200M", "-probesize", "1G"]
    argv += ["-show_streams", "-show_format", "-show_chapters", url]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return answer.stdout
