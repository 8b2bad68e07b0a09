# SPDX-License-Identifier: MIT
"""How fast the catalog answers with a million segments: ``python -m benchmarks.catalog``."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from tests.contracts.catalog import MAIN, FakeClock, begin, make_ref, make_segment
from tgsyncd.catalog import Catalog

VIDEOS, SEGMENTS, DOCUMENTS = 1_000, 1_000, 100


def measure(name, call, times):
    """Print the median and the 99th percentile of a call, in µs."""
    took = []
    for number in range(times):
        begun = time.perf_counter()
        call(number)
        took.append((time.perf_counter() - begun) * 1e6)
    took.sort()
    print(f"{name:28} p50 {statistics.median(took):10.1f} µs   p99 {took[int(len(took) * 0.99)]:10.1f} µs")


async def main(directory):
    path = Path(directory) / "catalog.sqlite3"
    catalog = await Catalog.open(path, reactor=reactor, clock=FakeClock())
    await catalog._on_writer(lambda db: db.execute("PRAGMA synchronous = OFF"))  # only for filling it
    segments, ids = [make_segment(order) for order in range(SEGMENTS)], []
    begun = time.perf_counter()
    for video in range(VIDEOS):
        await begin(catalog, f"video-{video:04}")
        ids.append(await catalog.create_rendition(f"video-{video:04}", 1, MAIN))
        await catalog.record_segments(ids[-1], segments)
    print(f"filled in {time.perf_counter() - begun:.1f} s: {path.stat().st_size / 1e6:.0f} MB and the WAL")
    for rendition_id in ids[:100]:
        for number in range(DOCUMENTS):
            ref = make_ref(rendition_id * DOCUMENTS + number)
            place = {"number": number, "offset": number * 10_000, "length": 4_000}
            await catalog.record_document(rendition_id, **place, ref=ref)
    await catalog.close()
    begun = time.perf_counter()
    catalog = await Catalog.open(path, reactor=reactor, clock=FakeClock())
    print(f"opened and checked in {time.perf_counter() - begun:.2f} s, {path.stat().st_size / 1e6:.0f} MB")
    measure("segment", lambda n: catalog.segment(ids[n * 7 % VIDEOS], n * 13 % SEGMENTS), 20_000)
    measure(
        "documents_covering",
        lambda n: catalog.documents_covering(ids[n % 100], n % 990_000, n % 990_000 + 9),
        5_000,
    )
    measure("rendition", lambda n: catalog.rendition(f"video-{n % VIDEOS:04}", 1, "main"), 5_000)
    measure("video", lambda n: catalog.video(f"video-{n % VIDEOS:04}"), 5_000)
    measure("segments (1,000 rows)", lambda n: catalog.segments(ids[n % VIDEOS]), 200)
    measure("videos (1,000 rows)", lambda _: catalog.videos(), 50)
    measure("stats", lambda _: catalog.stats(), 50)
    begun = time.perf_counter()
    await catalog.delete_video("video-0001")
    print(f"deleted a video in {(time.perf_counter() - begun) * 1e3:.1f} ms")
    await catalog.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        task.react(lambda _: Deferred.fromCoroutine(main(directory)))
