# SPDX-License-Identifier: MIT
"""The Telegram store at its limits: slots used, speed and memory.

::

    python -m benchmarks.telegram            # all, as a table; some minutes
    python -m benchmarks.telegram --speed    # without the slots

- slots: ``benchmarks.telegram_slots``, on simulated time.
- speed: uploads of 8 x 19.9 MB beside a bare httpx loop in the same run, without limits, over an emulator
  in a process of its own; the median of three. Figures compare within one run only.
- memory: the process's peak RSS with 8 uploads and 8 downloads of 19.9 MB at once.

Exits with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet import asyncioreactor

AT_ONCE = 8
SIZE = 19_900_000


def rss_mb():
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Intents:
    """Notes nothing."""

    async def record_intent(self, *_args, **_kwargs):
        return 1

    async def forget_intent(self, *_args):
        pass

    def is_recorded(self, *_args):
        return False


def start_emulator(folder):
    """Start it; return (process, url, tokens, chats)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulator", "--port", "0", "--state", str(folder), "--bots", "2"],
        stdout=subprocess.PIPE,
        text=True,
    )
    text = ""
    while len(set(re.findall(r"-100\d+", text))) < 2 or "http://" not in text:
        text += process.stdout.readline()
    url = re.search(r"http://[\d.]+:\d+", text)[0]
    tokens = sorted(set(re.findall(r"\d{6,12}:[A-Za-z0-9_-]{30,}", text)))
    chats = list(dict.fromkeys(int(number) for number in re.findall(r"-100\d+", text)))
    return process, url, tokens, chats


def make_files(folder):
    """Write the documents; each a little different in size, as real ones are."""
    paths = []
    for number in range(AT_ONCE):
        path = folder / f"{number}.bin"
        path.write_bytes(random.randbytes(SIZE - number * 1000))
        paths.append(path)
    return paths


async def bare_httpx(url, token, chat, paths):
    """What a loop without any of our code reaches."""
    import httpx

    async with httpx.AsyncClient(timeout=300) as client:

        async def send(path):
            with path.open("rb") as file:
                answer = await client.post(
                    f"{url}/bot{token}/sendDocument",
                    data={"chat_id": str(chat)},
                    files={"document": ("x.bin", file)},
                )
            answer.raise_for_status()

        begun = time.perf_counter()
        await asyncio.gather(*(send(path) for path in paths))
        return time.perf_counter() - begun


async def measure(reactor, url, tokens, chats, paths):
    """Run all; return the figures."""
    from twisted.internet.defer import Deferred, gatherResults

    from tgsyncd.bridge import from_asyncio
    from tgsyncd.model import DocumentLabel, VideoId
    from tgsyncd.stores.telegram.limits import LimitRules
    from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings, Token
    from tgsyncd.stores.telegram.store import TelegramStore

    class Wall:
        def now_s(self):
            return time.time()

    store = TelegramStore(
        TelegramSettings(
            bots=tuple(BotSettings(token=Token(token)) for token in tokens),
            chats=(chats[0],),
            scratch_chat=chats[1],
            base_url=f"{url}/bot",
            base_file_url=f"{url}/file/bot",
            limits=LimitRules(chat_interval_s=0.0, messages_per_minute=10_000),
            uploads_per_bot=AT_ONCE,
        ),
        reactor=reactor,
        clock=Wall(),
        random=random.Random(1),
        intents=Intents(),
    )

    def label(number, path):
        return DocumentLabel(
            library_id="0" * 16,
            video_id=VideoId("film"),
            revision=1,
            rendition="main",
            number=number,
            size_bytes=path.stat().st_size,
            sha256="0" * 64,
        )

    def together(coroutines):
        return gatherResults([Deferred.fromCoroutine(coroutine) for coroutine in coroutines])

    async def drain(ref):
        async for _ in store.open(ref, 0, ref.size_bytes):
            pass

    total_mb = sum(path.stat().st_size for path in paths) / 1e6
    figures = {"rss_at_start_mb": round(rss_mb())}
    ratios = []
    for _ in range(3):
        bare_s = await from_asyncio(bare_httpx(url, tokens[0], chats[0], paths))
        begun = time.perf_counter()
        refs = await together(store.put(path, label(number, path)) for number, path in enumerate(paths))
        ours_s = time.perf_counter() - begun
        ratios.append(bare_s / ours_s)
    figures["upload_mb_per_s"] = round(total_mb / ours_s)
    figures["bare_httpx_mb_per_s"] = round(total_mb / bare_s)
    figures["upload_ratio"] = round(sorted(ratios)[1], 2)
    begun = time.perf_counter()
    await together(drain(ref) for ref in refs)
    figures["download_mb_per_s"] = round(total_mb / (time.perf_counter() - begun))
    await together(
        [*(store.put(path, label(50 + n, path)) for n, path in enumerate(paths)), *map(drain, refs)]
    )
    figures["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    await store.close()
    return figures


TARGETS = {"upload_ratio": ("at least", 0.8), "peak_rss_mb": ("at most", 150)}


def show(figures):
    """Print a row for each; return those that miss their target."""
    missed = []
    for name, value in figures.items():
        words, target = TARGETS.get(name, ("", None))
        good = target is None or (value >= target if words == "at least" else value <= target)
        missed += [] if good else [name]
        wanted = "" if target is None else f"{words} {target}  {'ok' if good else 'MISSED'}"
        print(f"{name:22}{value:>8}  {wanted}".rstrip(), flush=True)
    return missed


def main():
    """Run and print."""
    slots = [] if "--speed" in sys.argv else [sys.executable, "-m", "benchmarks.telegram_slots"]
    missed = subprocess.run(slots, check=False).returncode if slots else 0
    return missed or measure_speed()


def measure_speed():
    """Run the uploads and downloads; return the number of targets missed."""
    asyncioreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    folder = Path(tempfile.mkdtemp(prefix="tgsyncd-bench-"))
    emulator, url, tokens, chats = start_emulator(folder / "telegram")
    status = []

    def done(result):
        if isinstance(result, dict):
            status.extend(show(result))
        else:
            status.append(1)
            print(result.getTraceback(), file=sys.stderr)
        reactor.stop()

    def begin():
        paths = make_files(folder)
        Deferred.fromCoroutine(measure(reactor, url, tokens, chats, paths)).addBoth(done)

    try:
        reactor.callLater(0, begin)
        reactor.run()
    finally:
        emulator.terminate()
        emulator.wait()
        shutil.rmtree(folder)
    return len(status)


if __name__ == "__main__":
    sys.exit(main())
