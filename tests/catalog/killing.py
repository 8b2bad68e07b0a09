# SPDX-License-Identifier: MIT
"""Kill a writer of the catalog at random instants, and compare with a catalog that was not killed.

    python -m tests.catalog.killing [--kills 30] [--seed 1] [directory]

Each round forks a child that opens the catalog and makes random writes, telling each one that returned; it is
killed with SIGKILL after some of them, wherever it then is (opening, migrating, writing, committing). The
writes are drawn from the seed, their number and what the catalog holds, so that a second catalog can be
brought to the same place: afterwards all rows must be equal to those after the last write told, or after the
one that was under way. This process has no thread and no connection when it forks.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import select
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.catalog.schema import rows_of, samples_use
from tests.contracts.catalog import (
    AUDIO,
    MAIN,
    PLAN,
    SOURCE,
    FakeClock,
    finish,
    make_label,
    make_ref,
    make_segment,
)
from tgsyncd.catalog import Catalog
from tgsyncd.model import Stage, VideoId, Wanted

VIDEOS = [VideoId(name) for name in ("alien", "brazil", "cube", "dune")]


class QueueReactor:
    """As much of a reactor as the catalog needs; safe to make after a fork."""

    def __init__(self):
        self._calls = queue.SimpleQueue()

    def callFromThread(self, function, *args):
        self._calls.put((function, args))

    def run(self, make_coroutine):
        """Run a coroutine to its end; return its result."""
        results, failures = [], []
        Deferred.fromCoroutine(make_coroutine(self)).addCallbacks(results.append, failures.append)
        while not (results or failures):
            function, args = self._calls.get()
            function(*args)
        if failures:
            failures[0].raiseException()
        return results[0]


# --- random writes -----------------------------------------------------------------------------------


async def write_once(catalog, clock, seed, number):
    """Make the write of this number: the same one whenever the catalog holds the same."""
    rng = random.Random(f"{seed}/{number}")
    clock.advance(1)
    video_id = rng.choice(VIDEOS)
    newest = catalog.newest_revision(video_id)
    if newest is None:
        await begin_or_create(catalog, video_id)
        return
    writes = [write_segments] * 4 + [write_document] * 8 + [write_rarely] * 3
    await rng.choice(writes)(catalog, rng, video_id, newest.number, number)


async def begin_or_create(catalog, video_id):
    """One write: the video, or its first revision."""
    if catalog.video(video_id) is None:
        await catalog.create_video(video_id, original_filename="x", library="l", source_path=f"/{video_id}")
    else:
        await catalog.begin_revision(video_id, SOURCE)


async def write_segments(catalog, rng, video_id, revision, number):
    rendition = catalog.rendition(video_id, revision, "main")
    if rendition is None:
        await catalog.create_rendition(video_id, revision, MAIN)
        return
    first = len(catalog.segments(rendition.rendition_id))
    orders = range(max(first - 2, 0), first + rng.choice([1, 5, 200]))
    await catalog.record_segments(rendition.rendition_id, [make_segment(order) for order in orders])


async def write_document(catalog, rng, video_id, revision, number):
    rendition = catalog.rendition(video_id, revision, "main")
    if rendition is None:
        await catalog.create_rendition(video_id, revision, MAIN)
        return
    documents = catalog.documents(rendition.rendition_id)
    place = documents[-1].number + 1 if documents else 0
    if rng.random() < 0.4:
        label = make_label(place, video_id=video_id, revision=revision)
        await catalog.record_intent(label, bot_id=11, chat_id=-5)
        return
    await catalog.record_document(
        rendition.rendition_id,
        number=place,
        offset=documents[-1].end if documents else 0,
        length=4_000,
        ref=make_ref(number),
    )


async def write_rarely(catalog, rng, video_id, revision, number):
    """One of the writes that a video sees once or twice in its life."""
    rendition = catalog.rendition(video_id, revision, "main")
    rare = [
        lambda: catalog.begin_revision(video_id, catalog.newest_revision(video_id).source),
        lambda: catalog.record_plan(video_id, revision, PLAN),
        lambda: catalog.record_stage(video_id, revision, rng.choice(list(Stage))),
        lambda: catalog.record_error(video_id, revision, "no", 5.0),
        lambda: catalog.create_rendition(video_id, revision, AUDIO),
        lambda: catalog.record_extra(video_id, revision, name=rng.choice(["a", "b"]), ref=make_ref(number)),
        lambda: catalog.publish_revision(video_id, revision),
        lambda: catalog.record_published_file(video_id, f"/{video_id}.strm", str(number)),
        lambda: catalog.set_wanted(video_id, rng.choice(list(Wanted))),
        lambda: catalog.record_cache_use([samples_use(each) for each in VIDEOS]),
        lambda: catalog.settle_deletions(catalog.owed_deletions(rng.choice([1, 100]))),
        lambda: catalog.delete_revision(video_id, rng.randint(1, revision)),
        lambda: catalog.delete_video(video_id),
    ]
    if rendition is not None:
        ids = [document.document_id for document in catalog.documents(rendition.rendition_id)]
        rare += [
            lambda: catalog.record_verified(ids),
            lambda: catalog.record_file_id(ids[0] if ids else 0, 13, f"file-{number}"),
            lambda: finish(catalog, rendition.rendition_id),
            lambda: catalog.truncate_rendition(rendition.rendition_id, segments_from=3, stream_end=6_000),
        ]
    await rng.choice(rare)()


# --- the writer that is killed -----------------------------------------------------------------------


def start_writer(path, seed, done):
    """Fork the writer; return its pid and the pipe on which it tells each write that returned."""
    reading, telling = os.pipe()
    pid = os.fork()
    if pid:
        os.close(telling)
        return pid, reading

    async def write_for_ever(reactor):
        clock = FakeClock()
        catalog = await Catalog.open(path, reactor=reactor, clock=clock, new_id=lambda size: "f0" * size)
        clock.advance(done)
        for number in range(done, sys.maxsize):
            await write_once(catalog, clock, seed, number)
            os.write(telling, b".")

    try:
        QueueReactor().run(write_for_ever)
    finally:
        os.write(2, b"the writer ended by itself\n")
        os._exit(1)


def kill_after(pid, reading, writes, delay_s):
    """Wait for so many writes, and then so long; kill. Return how many writes were told."""
    told = 0
    while told < writes:
        told += len(heard := os.read(reading, 65_536))
        if not heard:
            message = "the writer died"
            raise RuntimeError(message)
    select.select([], [], [], delay_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while heard := os.read(reading, 65_536):
        told += len(heard)
    os.close(reading)
    return told


# --- what must be true afterwards --------------------------------------------------------------------


def in_child(check, *args):
    """Run a check in a fork, so that this process never has a connection; return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 255
    try:
        code = check(*args)
    finally:
        os._exit(code)


def advance_twin(twin, seed, done, writes):
    """Bring the catalog that is never killed to the place after so many writes."""

    async def write(reactor):
        clock = FakeClock()
        catalog = await Catalog.open(twin, reactor=reactor, clock=clock, new_id=lambda size: "f0" * size)
        await catalog._on_writer(lambda db: db.execute("PRAGMA synchronous = OFF"))  # it is not killed
        clock.advance(done)
        for number in range(done, done + writes):
            await write_once(catalog, clock, seed, number)
        await catalog.close()
        return 0

    return QueueReactor().run(write)


def compare(path, twin):
    """Exit code: 0 the killed catalog is sound and equal to its twin, 1 it is only sound, 2 it is neither."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # A copy is recovered and compared: the next writer meets the file as the kill left it.
        copy = Path(scratch) / path.name
        for suffix in ("", "-wal"):
            if (left := Path(f"{path}{suffix}")).exists():
                shutil.copyfile(left, f"{copy}{suffix}")

        async def recover(reactor):
            catalog = await Catalog.open(
                copy, reactor=reactor, clock=FakeClock(), new_id=lambda size: "f0" * size
            )
            findings = await catalog.integrity_check()
            await catalog.close()
            return findings

        if findings := QueueReactor().run(recover):
            print(findings, file=sys.stderr, flush=True)
            return 2
        return 0 if rows_of(copy) == rows_of(twin) else 1


def check_round(path, twin, seed, done, told):
    """Return how many writes are in the catalog: those told, or one more."""
    for writes in (told, 1):
        if in_child(advance_twin, twin, seed, done, writes):
            message = "the twin could not be written"
            raise RuntimeError(message)
        done += writes
        outcome = in_child(compare, path, twin)
        if outcome == 0:
            return done
        if outcome == 2:
            message = f"after {done} writes the catalog is damaged"
            raise RuntimeError(message)
    message = f"after {done - 1} writes the catalog is neither there nor one further"
    raise RuntimeError(message)


def run(directory, seed, kills):
    """Kill so many times; return how many writes were made, and how many were found beyond those told."""
    rng = random.Random(seed)
    path, twin = directory / "killed.sqlite3", directory / "twin.sqlite3"
    done = beyond = 0
    for _ in range(kills):
        pid, reading = start_writer(path, seed, done)
        # Some in the middle of opening: a kill while recovering from the kill before.
        told = kill_after(pid, reading, rng.choice([0, 0, 1, 5, 20]), rng.uniform(0, 0.02))
        found = check_round(path, twin, seed, done, told)
        beyond += found - done - told
        done = found
    return done, beyond


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("directory", type=Path, nargs="?")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        writes, beyond = run(Path(directory), options.seed, options.kills)
    print(f"{options.kills} kills, {writes} writes, {beyond} of them durable before they were told: intact")


if __name__ == "__main__":
    main()
