# SPDX-License-Identifier: MIT
"""The engine: which documents hold a range, and how long it waits for the store. No network, no real time."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.fakes.memory_store import MemoryStore
from tgsyncd.errors import DocumentCorrupt, DocumentMissing, StoreUnavailable, VideoGone
from tgsyncd.model import Document
from tgsyncd.playback.bodies import verified
from tgsyncd.playback.engine import Engine, Patience


@dataclass
class FewDocuments:
    """What the engine asks of a catalog."""

    documents: list[Document] = field(default_factory=list)

    def documents_covering(self, rendition_id, start, stop):
        return [item for item in self.documents if item.offset < stop and item.end > start]


@dataclass(frozen=True)
class FakeRendition:
    rendition_id: int = 1
    video_id: str = "movie"
    name: str = "main"
    stream_bytes: int = 1_000_000


def lay_out(store, data, sizes, left_over=b""):
    """Store the data as documents of these sizes."""
    documents, offset = [], 0
    for number, size in enumerate(sizes):
        part = data[offset : offset + size]
        documents.append(
            Document(
                document_id=number,
                number=number,
                offset=offset,
                length=len(part),
                ref=store.add(part + left_over),
                uploaded_at_s=0.0,
            )
        )
        offset += len(part)
    return FewDocuments(documents)


async def collect(chunks):
    return b"".join([chunk async for chunk in chunks])


def start(engine, first, stop):
    return Deferred.fromCoroutine(collect(engine.open(FakeRendition(), first, stop)))


def result(deferred):
    """What a finished Deferred holds."""
    outcome = []
    deferred.addBoth(outcome.append)
    assert outcome, "still waiting"
    return outcome[0]


@settings(max_examples=500, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=8),
    left_over=st.binary(max_size=5),
    ends=st.tuples(st.integers(0, 24_000), st.integers(0, 24_000)),
    breaks=st.lists(st.integers(0, 2_000), max_size=5),
)
def test_any_range_is_the_same_bytes_whatever_the_documents(sizes, left_over, ends, breaks):
    """Over boundaries, resumed documents and breaks."""
    total = sum(sizes)
    data = bytes(n * 7 % 251 for n in range(total))
    first, stop = sorted(end % (total + 1) for end in ends)
    store, clock = MemoryStore(), Clock()
    engine = Engine(lay_out(store, data, sizes, left_over), store, clock)
    store.break_after.extend(breaks)
    reading = start(engine, first, stop)
    clock.pump([8.0] * 8)
    assert result(reading) == data[first:stop]
    assert store.open_now == 0


def test_a_hole_between_documents_is_missing():
    """What no document holds is said, with the byte."""
    store = MemoryStore()
    reader = lay_out(store, b"a" * 300, [100, 100, 100])
    del reader.documents[1]
    engine = Engine(reader, store, Clock(), patience=Patience(lost_s=0))
    failure = result(start(engine, 50, 250))
    assert failure.check(DocumentMissing)
    assert "byte 100" in str(failure.value)


def test_a_reader_of_what_is_lost_is_held():
    """Asked again now and then, with what comes back; then he is told, once his patience has ended."""
    clock, store = Clock(), MemoryStore()
    engine = Engine(lay_out(store, b"abcdef", [3, 3]), store, clock)
    kept = dict(store.documents)
    del store.documents["memory-1"]
    reading, waiting = start(engine, 0, 6), start(engine, 4, 6)
    clock.pump([1.0] * 60)
    assert not reading.called
    assert len(store.opened) <= 3 + 2 * 3
    store.documents.update(kept)
    clock.pump([1.0] * 25)
    assert result(reading) == b"abcdef"
    assert result(waiting) == b"ef"
    del store.documents["memory-0"]
    reading = start(engine, 0, 6)
    clock.pump([1.0] * 99)
    assert not reading.called
    clock.pump([1.0] * 2)
    assert result(reading).check(DocumentMissing)
    assert clock.getDelayedCalls() == []


def test_a_video_that_was_deleted_is_no_loss():
    """Nothing is held for it, and it has a name of its own, by which it is no error in the log."""
    clock, store = Clock(), MemoryStore()
    reader = lay_out(store, b"abcdef", [3, 3])
    engine = Engine(reader, store, clock)
    reading = start(engine, 0, 6)
    assert result(reading) == b"abcdef"
    reader.documents.clear()
    assert result(start(engine, 0, 6)).check(VideoGone)


def test_the_budget_counts_from_the_last_byte():
    """A store that gives a little each minute is not given up."""
    clock, store = Clock(), MemoryStore()
    reader = lay_out(store, b"a" * 1000, [1000])
    engine = Engine(reader, store, clock, patience=Patience(budget_s=100, max_delay_s=60))
    store.break_after.extend([100] * 9)
    reading = start(engine, 0, 1000)
    clock.pump([1.0] * 30)
    assert result(reading) == b"a" * 1000
    store.fail_opens = 1_000
    failing = start(engine, 0, 1000)
    clock.pump([1.0] * 120)
    assert result(failing).check(StoreUnavailable)


def test_waits_grow_and_stay_bounded():
    """0.25 s, doubled up to 8 s: some twenty questions in the whole budget."""
    clock, store = Clock(), MemoryStore()
    engine = Engine(lay_out(store, b"a", [1]), store, clock)
    store.fail_opens = 1_000
    times, seen = [], 0
    reading = start(engine, 0, 1)
    for _ in range(1_000):
        if len(store.opened) > seen:
            seen = len(store.opened)
            times.append(clock.seconds())
        clock.advance(0.125)
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert gaps[:7] == [0.25, 0.5, 1, 2, 4, 8, 8]
    assert max(gaps) == 8
    assert 90 < times[-1] <= 100
    assert result(reading).check(StoreUnavailable)


def test_what_the_store_asks_for_is_kept():
    """retry_after_s is waited for when it fits the budget."""
    clock, store = Clock(), MemoryStore()
    engine = Engine(lay_out(store, b"a", [1]), store, clock)
    store.fail_opens, store.retry_after_s = 1, 30.0
    reading = start(engine, 0, 1)
    clock.advance(29.9)
    assert len(store.opened) == 1
    clock.advance(0.2)
    assert result(reading) == b"a"


def test_a_stalled_store_is_asked_again():
    """Neither bytes nor an error for 40 s is taken as a failure; the old read is freed."""
    clock, store = Clock(), MemoryStore()
    engine = Engine(lay_out(store, b"abc", [3]), store, clock)
    store.hold()
    reading = start(engine, 0, 3)
    assert store.open_now == 1
    clock.advance(41)
    assert store.open_now == 0
    store.gate = None
    clock.advance(1)
    assert result(reading) == b"abc"


def test_cancelling_frees_the_store():
    """In the middle of a read and in the middle of a wait."""
    clock, store = Clock(), MemoryStore()
    engine = Engine(lay_out(store, b"abc", [3]), store, clock)
    store.hold()
    reading = start(engine, 0, 3)
    reading.cancel()
    assert result(reading) is not None
    assert store.open_now == 0
    store.fail_opens = 1
    waiting = start(engine, 0, 3)
    waiting.cancel()
    assert result(waiting) is not None
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("flip", [0, 70_000, 149_999])
def test_the_last_chunk_of_corrupt_bytes_is_held_back(flip):
    """Wherever the bit is."""
    data = bytes(150_000)
    sha256 = hashlib.sha256(data).hexdigest()
    bad = bytearray(data)
    bad[flip] = 1

    async def chunks():
        for at in range(0, 150_000, 65_536):
            yield bytes(bad[at : at + 65_536])

    passed = []

    async def drain():
        async for chunk in verified(chunks(), size_bytes=150_000, sha256=sha256):
            passed.append(chunk)

    assert result(Deferred.fromCoroutine(drain())).check(DocumentCorrupt)
    assert sum(map(len, passed)) < 150_000
