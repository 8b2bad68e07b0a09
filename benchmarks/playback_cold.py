# SPDX-License-Identifier: MIT
"""
How long a cold segment takes to its first byte, beside what Telegram itself takes.

    python -m benchmarks.playback_cold [--pairs 9]

The emulator answers after 200 ms, getFile works at 400 Mbit/s, a connection brings 50 Mbit/s. In turn a bare
client asks for a document (getFile, then the file, from the segment's first byte on) and a player asks
tgsyncd for the segment, with nothing of it known or kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install()

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import react


async def first_byte_s(client, url, headers=None):
    """Ask, and return the seconds to the first 188 bytes of the body, and all of it."""
    begun, seen, total = time.perf_counter(), [], 0
    answer = await client.get(url, headers=headers or {}, unbuffered=True)

    def note(data):
        nonlocal total
        total += len(data)
        if total >= 188 and not seen:
            seen.append(time.perf_counter() - begun)

    await treq.collect(answer, note)
    return seen[0], total


async def bare(client, telegram, document, segment):
    """What anybody waits for: getFile, then the file."""
    bot = telegram.bots[0]
    begun = time.perf_counter()
    url = f"{telegram.emulator.base_url}{bot.token}/getFile"
    answer = await client.post(url, json={"file_id": document.ref.file_ids[bot.bot_id]})
    path = (await answer.json())["result"]["file_path"]
    asked_s = time.perf_counter() - begun
    spot = segment.offset - document.offset
    url = f"{telegram.emulator.base_file_url}{bot.token}/{path}"
    first_s, _ = await first_byte_s(client, url, {"Range": f"bytes={spot}-{spot + segment.size_bytes - 1}"})
    return asked_s + first_s


async def compare(pairs, folder):
    from tests.integration.home import in_thread, make_config, running, upload
    from tests.integration.telegram import a_telegram
    from tests.integration.test_playback_cache import a_client, make_film, make_slow, sections

    film = await in_thread(make_film, "ts")
    async with a_telegram(folder) as telegram, a_client() as client:
        config = make_config(folder, cache={"ahead_duration": 0, "heads_bytes": 0}, **sections(telegram))
        async with running(config, listen=False) as app:
            (done,) = await upload(app, film)
        times = {"Telegram alone": [], "tgsyncd": []}
        for number in range(pairs):
            cold = config.model_copy(update={"cache_dir": folder / f"cache-{number}"})
            async with running(cold) as app:
                make_slow(telegram, latency_s=0.2)
                rendition = app.catalog.renditions(done.outcome.video_id, 1)[0]
                segment = app.catalog.segments(rendition.rendition_id)[-1]
                (document,) = app.catalog.documents_covering(
                    rendition.rendition_id, segment.offset, segment.end
                )
                times["Telegram alone"].append(await bare(client, telegram, document, segment))
                url = app.playlist_url(done.outcome.video_id).replace("/playlist/", "/segment/")
                url = url.replace(".m3u8", f"/segment_{segment.order:04}.ts")
                first_s, total = await first_byte_s(client, url)
                assert total == segment.size_bytes
                times["tgsyncd"].append(first_s)
                telegram.emulator.knobs.change(latency_s=0, download_bytes_per_s=0, get_file_s_per_mib=0)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs

    async def run():
        with tempfile.TemporaryDirectory() as folder:
            times = await compare(pairs, Path(folder))
        print("\n| a cold segment, ms to the first byte | median | least | most |\n| --- | --- | --- | --- |")
        for name, seconds in times.items():
            cells = (statistics.median(seconds), min(seconds), max(seconds))
            print(f"| {name} | " + " | ".join(f"{each * 1000:.1f}" for each in cells) + " |")
        added = [ours - alone for alone, ours in zip(*times.values(), strict=True)]
        print(f"\nmedian of {pairs} pairs: {statistics.median(added) * 1000:+.1f} ms")

    react(lambda _: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main()
