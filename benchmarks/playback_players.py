# SPDX-License-Identifier: MIT
"""
Whether players stall, and what is downloaded for what they play.

    python -m benchmarks.playback_players [--seconds 300] [--viewers 1 4 8]

Players as hls.js is: they keep 30 s of film ahead, one segment at a time, play at the film's own speed, and
seek once in the middle. Each watches a film of its own at 8 Mbit/s. Telegram is the emulator: 50 Mbit/s a
connection, getFile at 400 Mbit/s, up to 300 ms more for any answer, 5 % of all requests answered with 502,
and 5 % of all downloads reset. Time is simulated; sockets, threads, files and sha256 are real.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install()

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater, react

SEGMENT_S = 6.0
BYTES_PER_S = 1_000_000
BUFFER_S = 30.0
CONNECTION_BYTES_PER_S = 50_000_000 / 8
DOCUMENTS = (4_000_000, 8_000_000)
DOCUMENT_BYTES = 19_900_000


@dataclass(slots=True)
class Film:
    """A stream that is stored."""

    rendition: object
    segments: list = field(default_factory=list)
    documents: list = field(default_factory=list)


class Player:
    """One viewer: a buffer that is filled segment by segment and played out by the clock."""

    def __init__(self, engine, clock, film, *, address, seek_at_s, seek_to_s):
        self._engine, self._clock, self._film, self._address = engine, clock, film, address
        self._seek_at_s, self._seek_to_s = seek_at_s, seek_to_s
        self._position_s = self._end_s = 0.0
        self._since_s = None
        self.stalled_s = 0.0
        self.starts_s = []
        self.served = {}
        """Bytes that were delivered, by segment."""

    async def watch(self):
        """Play to the end, with one seek on the way."""
        session = Deferred.fromCoroutine(self._session())
        if self._seek_at_s is not None:
            self._clock.callLater(self._seek_at_s, session.cancel)
        try:
            await session
        except CancelledError:
            self._advance()
            order = int(self._seek_to_s // SEGMENT_S)
            self._position_s = self._end_s = order * SEGMENT_S
            self._since_s = None
            await self._session()

    async def _session(self):
        begun_s = self._clock.seconds()
        order = round(self._end_s / SEGMENT_S)
        while order < len(self._film.segments):
            await self._read(order)
            self._advance()
            if self._since_s is None:
                self._since_s = self._clock.seconds()
                self.starts_s.append(self._since_s - begun_s)
            order += 1
            self._end_s = order * SEGMENT_S
            ahead_s = self._end_s - self._position_s
            if ahead_s > BUFFER_S:
                await deferLater(self._clock, ahead_s - BUFFER_S)
                self._advance()
        await deferLater(self._clock, self._end_s - self._position_s)
        self._advance()

    async def _read(self, order):
        segment, got = self._film.segments[order], 0
        chunks = self._engine.open(self._film.rendition, segment.offset, segment.end, viewer=self._address)
        try:
            async for chunk in chunks:
                got += len(chunk)
        finally:
            self.served[order] = max(self.served.get(order, 0), got)
            await chunks.aclose()

    def _advance(self):
        """Play as much as time has passed, or stall where there is nothing."""
        if self._since_s is None:
            return
        now_s = self._clock.seconds()
        passed_s, self._since_s = now_s - self._since_s, now_s
        played_s = min(passed_s, self._end_s - self._position_s)
        self._position_s += played_s
        self.stalled_s += passed_s - played_s if passed_s - played_s > 1e-6 else 0.0


async def store_film(store, number, seconds, folder):
    """Put a film of random bytes into the store, as documents of the usual sizes."""
    from tests.contracts.store import make_document
    from tests.playback.cached import make_rendition
    from tgsyncd.model import Document, Segment

    rng = random.Random(number)
    sizes = [int(BYTES_PER_S * SEGMENT_S * rng.uniform(0.8, 1.2)) for _ in range(round(seconds / SEGMENT_S))]
    film = Film(make_rendition(number, sum(sizes)))
    hashes = [hashlib.sha256() for _ in sizes]
    ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
    offset = order = 0
    while offset < ends[-1]:
        at = len(film.documents)
        length = min(DOCUMENTS[at] if at < len(DOCUMENTS) else DOCUMENT_BYTES, ends[-1] - offset)
        path, label, data = make_document(folder, length, number=at, seed=number, video_id=f"film-{number}")
        ref = await store.put(path, label)
        path.unlink()
        film.documents.append(
            Document(
                document_id=number * 1000 + at,
                number=at,
                offset=offset,
                length=length,
                ref=ref,
                uploaded_at_s=0.0,
            )
        )
        while data:
            part = data[: ends[order] - offset]
            hashes[order].update(part)
            offset, data = offset + len(part), data[len(part) :]
            order += offset == ends[order]
    for at, size in enumerate(sizes):
        film.segments.append(
            Segment(
                order=at,
                offset=ends[at] - size,
                size_bytes=size,
                start_s=at * SEGMENT_S,
                duration_s=SEGMENT_S,
                sha256=hashes[at].hexdigest(),
            )
        )
    return film


def spoil(emulator):
    """Make the line what the figures above say."""
    emulator.knobs.change(
        download_bytes_per_s=CONNECTION_BYTES_PER_S, get_file_s_per_mib=8 * 1.048576 / 400, latency_s=0.05
    )
    emulator.faults.add("error", times=None, probability=0.05, code=502)
    for seconds, probability in ((0.3, 0.25), (0.2, 1 / 3), (0.1, 0.5)):
        emulator.faults.add("stall", times=None, probability=probability, seconds=seconds)
    emulator.faults.add("reset_download", times=None, probability=0.05)


async def watch_together(world, store, films, folder, *, seeks=True, **cache):
    """Let one player watch each film; return players, bytes downloaded, and the cache's report."""
    from twisted.internet.threads import deferToThread

    from tests.playback.cached import ClockOf, FakeReader
    from tgsyncd.playback.engine import CacheSettings, Engine

    engine = Engine(
        FakeReader({film.rendition.rendition_id: film for film in films}),
        store,
        world.clock,
        cache=CacheSettings(folder=Path(tempfile.mkdtemp(dir=folder)), **cache),
        clock=ClockOf(world.clock),
        in_thread=deferToThread,
        ask_ahead=store.prefetch,
    )
    since = len(world.emulator.calls("download"))
    seconds = len(films[0].segments) * SEGMENT_S
    players = [
        Player(
            engine,
            world.clock,
            film,
            address=f"10.0.0.{number}",
            seek_at_s=seconds * (0.25 + 0.02 * number) if seeks else None,
            seek_to_s=seconds * 0.55,
        )
        for number, film in enumerate(films)
    ]
    await gatherResults([Deferred.fromCoroutine(player.watch()) for player in players])
    await engine.close()
    downloaded = sum(call.download_bytes for call in world.emulator.calls("download")[since:])
    return players, downloaded, engine.report()


@contextmanager
def in_a_hurry():
    """Let simulated time pass in larger steps, and after fewer looks at what may be under way."""
    from tests.emulator import downloads
    from tests.stores.telegram import support

    before = downloads.CHUNK_BYTES, support.LOOKS_ON_THE_WIRE
    downloads.CHUNK_BYTES, support.LOOKS_ON_THE_WIRE = 256 * 1024, 25
    try:
        yield
    finally:
        downloads.CHUNK_BYTES, support.LOOKS_ON_THE_WIRE = before


async def measure(folder, seconds, viewers, *, seeks=True):
    """Return the figures of so many viewers at once."""
    from benchmarks.figures import Figure
    from tests.stores.telegram.support import a_world

    figures = []
    with in_a_hurry():
        async with a_world(folder, bots=2) as world:
            store = world.store()
            films = [await store_film(store, number + 1, seconds, folder) for number in range(max(viewers))]
            spoil(world.emulator)
            for count in viewers:
                world.emulator.state.expire_paths()
                seen = await watch_together(world, store, films[:count], folder, seeks=seeks)
                players, downloaded, report = seen
                served = sum(sum(player.served.values()) for player in players)
                starts = sorted(start for player in players for start in player.starts_s)
                stalled = sum(player.stalled_s for player in players)
                who = f"{count} viewer{'s' if count > 1 else ''}"
                figures += [
                    Figure(what=f"{who}: stalled", value=stalled, unit="s", at_most=0.0),
                    Figure(what=f"{who}: downloaded / served", value=downloaded / served, at_most=1.10),
                    Figure(what=f"{who}: longest start or seek", value=starts[-1], unit="s"),
                    Figure(what=f"{who}: hedges", value=report["hedges"]),
                    Figure(what=f"{who}: connections added", value=report["connections_added"]),
                ]
    return figures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=300, help="length of the films")
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 4, 8])
    options = parser.parse_args()

    async def run():
        from benchmarks.figures import show

        with tempfile.TemporaryDirectory() as folder:
            missed = show(await measure(Path(folder), options.seconds, options.viewers))
        raise SystemExit(1 if missed else 0)

    react(lambda _: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main()
