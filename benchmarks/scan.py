# SPDX-License-Identifier: MIT
"""
How long a scan of 100,000 files takes, and how long it holds the reactor: ``python -m benchmarks.scan``.

Once when all are known and unchanged, which is what happens every quarter of an hour, and once when all are
new and none may be begun (quiet hours). Beside it, in the same run: ``os.walk`` with a ``stat`` of each
file, and ``find -printf``, each the faster of two runs around ours.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool

from benchmarks.stalls import Stalls
from tests.integration.home import make_config
from tgsyncd.daemon import Application
from tgsyncd.service.ingesting import Ingesting
from tgsyncd.service.queue import IngestQueue
from tgsyncd.service.removal import Removal
from tgsyncd.service.watcher import Watcher

A_FOLDER = 100


def make_files(root: Path, count: int) -> list[tuple[str, os.stat_result]]:
    """Write as many small files, in folders of a hundred, as a library of shows has them."""
    made = []
    for number in range(count):
        folder = root / f"Series {number // A_FOLDER // 5:03}" / f"Season {number // A_FOLDER % 5 + 1:02}"
        if number % A_FOLDER == 0:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"Episode S{number // A_FOLDER % 5 + 1:02}E{number % A_FOLDER:02}.mkv"
        path.write_bytes(b"x")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        made.append((str(path), path.stat()))
    return made


def fill(db, made) -> None:
    """Make a published video of each file, as it looks after years."""
    db.execute("BEGIN")
    for number, (path, status) in enumerate(made):
        video_id = f"episode-{number}"
        row = (path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
        db.execute(
            "INSERT INTO videos (video_id, original_filename, library, source_path, current_revision,"
            " status, created_at, updated_at) VALUES (?, 'x.mkv', 'Shows', ?, 1, 'active', 0, 0)",
            (video_id, path),
        )
        db.execute(
            "INSERT INTO revisions (video_id, number, stage, source_path, source_size, source_mtime_ns,"
            " source_inode, source_device, source_hash, created_at, updated_at)"
            " VALUES (?, 1, 'published', ?, ?, ?, ?, ?, 'ab', 0, 0)",
            (video_id, *row),
        )
        db.execute(
            "INSERT INTO published_files (path, video_id, sha256, updated_at) VALUES (?, ?, 'ab', 0)",
            (f"{path}.strm", video_id),
        )
    db.execute("COMMIT")


def walk(root: Path) -> float:
    """What any program does at least."""
    begun = time.perf_counter()
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            count += os.stat(f"{folder}/{name}").st_size  # noqa: PTH116 - as bare as can be
    return time.perf_counter() - begun


def find(root: Path) -> float:
    """The same by findutils."""
    begun = time.perf_counter()
    argv = ["find", str(root), "-type", "f", "-printf", "%s %T@ %p\\n"]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


async def main(folder: Path, count: int) -> None:
    source = folder / "source"
    made = await deferToThread(make_files, source, count)
    library = {"name": "Shows", "source": source, "publish": folder / "library"}
    config = make_config(folder, libraries=[library], scan={"rest": "0 s"}, ingest={"quiet_hours": []})
    app = await Application.open(reactor, config)
    gc.collect()
    gc.freeze()  # as the daemon does when it has started
    pool = ThreadPool(minthreads=0, maxthreads=2)
    pool.start()
    stalls = Stalls(reactor)

    async def scan(name: str) -> None:
        queue = IngestQueue(reactor, now_s=time.time)
        # A worker that may begin nothing, as in quiet hours.
        worker = Deferred.fromCoroutine(queue.take(lambda now_s: now_s + 60.0))
        worker.addErrback(lambda _: None)
        ingesting = Ingesting(app, queue, clock=app._clock)
        watcher = Watcher(
            app, queue, ingesting, Removal(app, reactor=reactor), reactor=reactor, pool=pool, clock=app._clock
        )
        peers = [await deferToThread(each, source) for each in (walk, find)]
        stalls.begin()
        begun, cpu = time.perf_counter(), time.process_time()
        said = await watcher.scan()
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
        longest_ms = stalls.end() * 1000
        peers = [min(before, await deferToThread(each, source)) for each, before in
                 zip((walk, find), peers, strict=True)]  # fmt: skip
        worker.cancel()
        watcher.stop()
        print(
            f"{name}: {took_s:.2f} s ({cpu_s:.2f} s of CPU), {took_s / peers[0]:.1f} x os.walk"
            f" ({peers[0]:.2f} s), {took_s / peers[1]:.1f} x find ({peers[1]:.2f} s);"
            f" reactor held {longest_ms:.0f} ms; {said}",
            flush=True,
        )

    await scan("new, nothing may begin")
    await app.catalog._on_writer(lambda db: fill(db, made))
    for _ in range(3):
        await scan("known and unchanged")
    pool.stop()
    await app.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        task.react(lambda _: Deferred.fromCoroutine(main(Path(directory), arguments.files)))
