# SPDX-License-Identifier: MIT
"""An engine with a cache over a store in memory: threads that are not, and time that the test moves."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from tests.fakes.memory_store import MemoryStore
from tgsyncd.model import Container, Document, Rendition, RenditionKind, Segment, VideoId
from tgsyncd.playback.ahead import PLAN_EVERY_S
from tgsyncd.playback.engine import CacheSettings, Engine, Patience


@dataclass
class FakeReader:
    """What the engine asks of a catalog, of one stream each."""

    streams: dict = field(default_factory=dict)

    def segments(self, rendition_id):
        return self.streams[rendition_id].segments

    def documents(self, rendition_id):
        return self.streams[rendition_id].documents

    def documents_covering(self, rendition_id, start, stop):
        return [item for item in self.documents(rendition_id) if item.offset < stop and item.end > start]


@dataclass
class Film:
    """A stream, stored; ``sizes`` are of its segments."""

    data: bytes
    rendition: Rendition
    segments: list
    documents: list

    def range_of(self, order):
        segment = self.segments[order]
        return segment.offset, segment.end

    def bytes_of(self, order):
        first, stop = self.range_of(order)
        return self.data[first:stop]


class ClockOf:
    def __init__(self, clock):
        self._clock = clock

    def now_s(self):
        return self._clock.seconds()


class Cached:
    """The engine and all around it."""

    made: ClassVar[list] = []

    @classmethod
    def close_all(cls):
        """End what tests left under way; the garbage collector would, in the middle of another test."""
        while cls.made:
            cached = cls.made.pop()
            Deferred.fromCoroutine(cached.engine.close())

    def __init__(self, folder, **settings):
        self.made.append(self)
        self.clock = Clock()
        self.store = MemoryStore()
        self.reader = FakeReader()
        self.asked_ahead = []
        self.recorded = []
        self.settings = CacheSettings(folder=folder, **settings)
        self.engine = self.start_engine()

    def start_engine(self):
        """Make an engine, as after a restart."""

        async def record(uses):
            self.recorded += uses

        self.engine = Engine(
            self.reader,
            self.store,
            self.clock,
            patience=Patience(first_delay_s=1, budget_s=20, lost_s=0),
            cache=self.settings,
            clock=ClockOf(self.clock),
            in_thread=maybeDeferred,
            ask_ahead=self.asked_ahead.append,
            record_uses=record,
        )
        return self.engine

    def add_film(self, sizes, *, init_bytes=0, document_bytes=10**9, seed=1):
        number = len(self.reader.streams) + 1
        data = random.Random(seed).randbytes(init_bytes + sum(sizes))
        segments, offset = [], init_bytes
        for order, size in enumerate(sizes):
            sha256 = hashlib.sha256(data[offset : offset + size]).hexdigest()
            segments.append(
                Segment(
                    order=order,
                    offset=offset,
                    size_bytes=size,
                    start_s=order * 6.0,
                    duration_s=6.0,
                    sha256=sha256,
                )
            )
            offset += size
        documents = [
            Document(
                document_id=at,
                number=at,
                offset=first,
                length=len(data[first : first + document_bytes]),
                ref=self.store.add(data[first : first + document_bytes]),
                uploaded_at_s=0.0,
            )
            for at, first in enumerate(range(0, len(data), document_bytes))
        ]
        film = Film(data, make_rendition(number, len(data), init_bytes), segments, documents)
        self.reader.streams[number] = film
        return film

    def read(self, film, first, stop, *, viewer=""):
        """Begin to read; return a Deferred of the bytes."""

        async def collect():
            chunks = self.engine.open(film.rendition, first, stop, viewer=viewer)
            return b"".join([chunk async for chunk in chunks])

        return Deferred.fromCoroutine(collect())

    def read_segment(self, film, order, *, viewer=""):
        return self.read(film, *film.range_of(order), viewer=viewer)

    def turn(self):
        """Let what was put off to the next turn of the reactor happen, and the next look at the viewers."""
        self.clock.advance(PLAN_EVERY_S)
        for _ in range(20):
            self.clock.advance(0)

    @property
    def report(self):
        return self.engine.report()

    def opened(self):
        return [(each.start, each.stop) for each in self.store.opened]


def make_rendition(number, stream_bytes, init_bytes=0):
    return Rendition(
        rendition_id=number,
        video_id=VideoId(f"film-{number}"),
        revision=1,
        name="main",
        kind=RenditionKind.MAIN,
        container=Container.FMP4 if init_bytes else Container.MPEGTS,
        codecs="",
        bandwidth=1,
        average_bandwidth=1,
        width=1,
        height=1,
        frame_rate=25.0,
        language=None,
        title=None,
        is_default=True,
        stream_bytes=stream_bytes,
        init_bytes=init_bytes,
        duration_s=60.0,
        independent_segments=True,
        is_complete=True,
    )


def result(deferred):
    """What a finished Deferred holds."""
    outcome = []
    deferred.addBoth(outcome.append)
    assert outcome, "still waiting"
    return outcome[0]


class SlowReader:
    """A client that takes one chunk when it is told to."""

    def __init__(self, chunks):
        self._chunks = chunks
        self.data = b""

    def take(self):
        """Take one chunk; return whether it came."""
        taking = Deferred.fromCoroutine(anext(self._chunks))
        taking.addCallback(self._note)
        return taking

    def _note(self, chunk):
        self.data += chunk
        return len(chunk)

    def leave(self):
        return result(Deferred.fromCoroutine(self._chunks.aclose()))
