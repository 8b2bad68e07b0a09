# SPDX-License-Identifier: MIT
"""The cache: one fetch for everybody, memory within its limit, disk over restarts, pinned heads."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.playback.cached import Cached, SlowReader, result
from tgsyncd.errors import DocumentCorrupt, DocumentMissing
from tgsyncd.playback.flight import Flight

BIG = 600_000
PLAIN = {"disk_bytes": 0, "heads_bytes": 0, "ahead_s": 0.0}


@pytest.fixture
def cached(tmp_path):
    return Cached(tmp_path, **PLAIN)


# --- one fetch for everybody -------------------------------------------------------------------------


def test_two_hundred_readers_cause_one_fetch(cached):
    """All of them get all of it."""
    film = cached.add_film([BIG] * 4)
    cached.store.hold()
    readings = [cached.read_segment(film, 2) for _ in range(200)]
    cached.store.release()
    assert {result(reading) for reading in readings} == {film.bytes_of(2)}
    assert cached.opened() == [film.range_of(2)]
    assert cached.report["joined"] == 199


def test_followers_read_what_has_arrived(cached):
    """The first byte goes through while the last is far away."""
    film = cached.add_film([BIG] * 4)
    cached.store.break_after.append(200_000)
    first = SlowReader(cached.engine.open(film.rendition, *film.range_of(2)))
    assert result(first.take()) > 0
    second = SlowReader(cached.engine.open(film.rendition, *film.range_of(2)))
    assert result(second.take()) == 200_000
    waiting = second.take()
    assert not waiting.called
    cached.clock.advance(1)
    assert result(waiting) > 0
    assert len(cached.store.opened) == 2  # broken off once, and resumed


def test_who_leaves_does_not_disturb_the_others(cached):
    """Also when it is the one whose request began the fetch."""
    film = cached.add_film([BIG] * 4)
    cached.store.hold()
    first, second = cached.read_segment(film, 2), cached.read_segment(film, 2)
    first.cancel()
    assert result(first) is not None
    assert cached.store.open_now == 1
    cached.store.release()
    assert result(second) == film.bytes_of(2)
    assert len(cached.store.opened) == 1


def test_the_last_one_out_cancels(cached):
    """Nothing of it stays, and the next one begins anew."""
    film = cached.add_film([4_000_000] * 4)
    cached.store.hold()
    readings = [cached.read_segment(film, 2) for _ in range(3)]
    for reading in readings:
        assert cached.store.open_now == 1
        reading.cancel()
        assert result(reading) is not None
    assert cached.store.open_now == 0
    assert cached.report["fetches_cancelled"] == 1
    assert cached.report["memory"]["used_bytes"] == 0
    cached.store.release()
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)


def test_what_a_probe_began_is_kept_for_the_play(cached):
    """Segments 0 and 1 are fetched to their end."""
    film = cached.add_film([4_000_000] * 4)
    cached.store.hold()
    probe = cached.read_segment(film, 0)
    probe.cancel()
    assert result(probe) is not None
    cached.store.release()
    assert result(cached.read_segment(film, 0)) == film.bytes_of(0)
    assert len(cached.store.opened) == 1


def test_a_reader_in_the_middle_does_not_wait_for_the_beginning(cached):
    """The fetch begins where he reads, and brings the rest afterwards."""
    film = cached.add_film([BIG] * 3, document_bytes=500_000)
    first, stop = film.range_of(1)
    assert result(cached.read(film, first + 300_000, stop)) == film.data[first + 300_000 : stop]
    assert cached.opened()[0] == (400_000, 500_000)
    assert result(cached.read_segment(film, 1)) == film.bytes_of(1)
    assert cached.store.bytes_read == BIG


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    init_bytes=st.integers(0, 300),
    document_bytes=st.integers(50, 2_000),
    ranges=st.lists(st.tuples(st.integers(0, 5_700), st.integers(0, 5_700)), min_size=1, max_size=6),
    breaks=st.lists(st.integers(0, 500), max_size=5),
    memory_bytes=st.sampled_from([0, 1_000, 400_000, 100_000_000]),
    disk_bytes=st.sampled_from([0, 1_500, 10**6]),
)
def test_any_range_is_the_right_bytes(
    tmp_path_factory, sizes, init_bytes, document_bytes, ranges, breaks, memory_bytes, disk_bytes
):
    """Whatever is kept where, and whatever was evicted meanwhile."""
    cached = Cached(tmp_path_factory.mktemp("cache"), memory_bytes=memory_bytes, disk_bytes=disk_bytes)
    film = cached.add_film(sizes, init_bytes=init_bytes, document_bytes=document_bytes)
    cached.store.break_after.extend(breaks)
    for ends in ranges:
        first, stop = sorted(end % (len(film.data) + 1) for end in ends)
        reading = cached.read(film, first, stop)
        cached.clock.pump([1.0] * 16)
        assert result(reading) == film.data[first:stop]
        assert cached.report["memory"]["used_bytes"] <= memory_bytes or not memory_bytes
    assert cached.store.open_now == 0


# --- what is wrong -----------------------------------------------------------------------------------


class Flipping:
    """Turns one bit of what is read, so many times."""

    def __init__(self, store, at, times=1):
        self._store, self._at, self.times = store, at, times

    async def open(self, ref, start, stop):
        position = start
        async for chunk in self._store.open(ref, start, stop):
            if position <= self._at < position + len(chunk) and self.times:
                self.times -= 1
                spoilt = bytearray(chunk)
                spoilt[self._at - position] ^= 1
                yield bytes(spoilt)
            else:
                yield chunk
            position += len(chunk)


@pytest.mark.parametrize(("offset", "is_noticed"), [(0, True), (BIG - 1, False)])
def test_what_does_not_match_is_fetched_again(cached, offset, is_noticed):
    """A reader is broken off only when he was sent the wrong part already; nothing wrong is kept."""
    film = cached.add_film([BIG] * 4)
    cached.engine._upstream._store = Flipping(cached.store, film.segments[2].offset + offset)
    cached.store.hold()
    reading = cached.read_segment(film, 2)
    cached.store.release()
    outcome = result(reading)
    if is_noticed:
        assert outcome.check(DocumentCorrupt)
    else:
        assert outcome == film.bytes_of(2)
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)
    assert len(cached.store.opened) == 2


def test_what_never_matches_is_never_sent_whole(cached):
    """After two trials the readers are told; the next one begins anew."""
    film = cached.add_film([BIG] * 4)
    cached.engine._upstream._store = flipping = Flipping(cached.store, film.segments[2].end - 1, times=2)
    cached.store.hold()
    reading = cached.read_segment(film, 2)
    cached.store.release()
    assert result(reading).check(DocumentCorrupt)
    assert cached.report["memory"]["used_bytes"] == 0
    assert flipping.times == 0
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)


@pytest.mark.parametrize(("times", "is_mended"), [(1, True), (2, False)])
def test_the_initialization_section_is_verified(pinned, times, is_mended):
    """By the sha256 of the documents that hold it; a wrong one is shown to nobody, nor kept."""
    film = pinned.add_film([BIG] * 4, init_bytes=2_000, document_bytes=1_500)
    pinned.engine._upstream._store = Flipping(pinned.store, 700, times=times)
    outcome = result(pinned.read(film, 0, 2_000))
    assert (outcome == film.data[:2_000]) if is_mended else outcome.check(DocumentCorrupt)
    assert pinned.report["heads"]["files"] == is_mended
    before = pinned.store.bytes_read
    assert result(pinned.read(film, 0, 2_000)) == film.data[:2_000]
    assert pinned.store.bytes_read - before == (0 if is_mended else 3_000)


def test_what_the_cache_holds_of_a_stream_is_told(tmp_path):
    """For the page that shows one video."""
    cached = Cached(tmp_path, ahead_s=0.0)
    film = cached.add_film([BIG] * 6)
    result(cached.read_segment(film, 0))
    cached.clock.advance(1)
    result(cached.read_segment(film, 2))
    cached.store.hold()
    reading = cached.read_segment(film, 3)
    told = cached.engine.report_stream(film.rendition)
    assert told == {
        "in_memory": [0, 2],
        "on_their_way": [{"segment": 3, "bytes": 0, "of": BIG}],
        "on_disk": [0, 2],
        "disk_bytes": 2 * BIG,
        "pinned_bytes": BIG,
        "viewers_at": [3],
        "lost": [],
    }
    reading.cancel()
    assert result(reading) is not None


def test_an_error_is_told_to_all_and_not_kept(cached):
    """What is lost is lost for who asks now."""
    film = cached.add_film([BIG] * 4)
    kept = dict(cached.store.documents)
    cached.store.documents.clear()
    assert result(cached.read_segment(film, 2)).check(DocumentMissing)
    cached.store.documents.update(kept)
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)


def lose(cached, film, order):
    """Have the store lose the document in which this segment begins; return what brings it back."""
    document = next(item for item in film.documents if item.end > film.segments[order].offset)
    name = document.ref.file_unique_id
    data = cached.store.documents.pop(name)
    return lambda: cached.store.documents.update({name: data})


def gaps(cached, film):
    return cached.engine.lost_orders(film.rendition)


def test_a_lost_document_is_a_gap_for_the_next_viewer(cached):
    """All segments that need a byte of it, but for those that are kept here; and nothing else."""
    film = cached.add_film([BIG] * 12, document_bytes=1_500_000)
    result(cached.read_segment(film, 3))
    bring_back = lose(cached, film, 3)
    assert gaps(cached, film) == frozenset()
    assert result(cached.read_segment(film, 4)).check(DocumentMissing)
    assert gaps(cached, film) == {2, 4}
    assert result(cached.read_segment(film, 5)) == film.bytes_of(5)
    bring_back()
    assert result(cached.read_segment(film, 4)) == film.bytes_of(4)
    assert gaps(cached, film) == frozenset()


def test_a_document_that_was_stored_anew_is_no_gap(cached):
    """The mark is the old one's."""
    film = cached.add_film([BIG] * 12, document_bytes=1_500_000)
    lose(cached, film, 4)
    assert result(cached.read_segment(film, 3)).check(DocumentMissing)
    assert 3 in gaps(cached, film)
    at = next(n for n, item in enumerate(film.documents) if item.end > film.segments[4].offset)
    document = film.documents[at]
    ref = cached.store.add(film.data[document.offset : document.end])
    film.documents[at] = replace(document, ref=ref)
    cached.engine._upstream.lost.forget_segment(film.segments[3].sha256)
    assert gaps(cached, film) == frozenset()


def test_a_gap_is_tried_again_after_an_hour(cached):
    """Else nobody would ask for what is said to be lost."""
    film = cached.add_film([BIG] * 12, document_bytes=1_500_000)
    lose(cached, film, 4)
    assert result(cached.read_segment(film, 4)).check(DocumentMissing)
    cached.clock.pump([60.0] * 59)
    assert gaps(cached, film)
    cached.clock.pump([60.0] * 2)
    assert gaps(cached, film) == frozenset()


def test_a_film_of_which_all_is_lost_is_not_all_gaps(cached):
    """A player would play nothing, and not say why."""
    film = cached.add_film([BIG] * 4)
    cached.store.documents.clear()
    assert result(cached.read_segment(film, 2)).check(DocumentMissing)
    assert gaps(cached, film) == frozenset()


def test_what_is_lost_ahead_is_not_asked_for_again_and_again(ahead):
    """Once in five seconds; and what stands behind it is read ahead all the same."""
    film = ahead.add_film([BIG] * 12, document_bytes=BIG)
    lose(ahead, film, 3)
    result(ahead.read_segment(film, 2))
    ahead.turn()
    asked = [each.file_unique_id for each in ahead.store.opened]
    assert sorted(asked) == [film.documents[order].ref.file_unique_id for order in (2, 3, 4, 5)]
    ahead.clock.advance(5.0)
    ahead.turn()
    result(ahead.read_segment(film, 2))
    ahead.turn()
    assert len(ahead.store.opened) == 5


# --- memory ------------------------------------------------------------------------------------------


def test_the_memory_is_never_exceeded(tmp_path):
    """Counting what is on its way and what is being sent; who finds no room is served past it."""
    cached = Cached(tmp_path, memory_bytes=3_000_000, **PLAIN)
    film = cached.add_film([1_000_000] * 8)
    slow = [SlowReader(cached.engine.open(film.rendition, *film.range_of(order))) for order in range(2, 8)]
    while any(len(reader.data) < 1_000_000 for reader in slow):
        for reader in slow:
            if len(reader.data) < 1_000_000:
                assert result(reader.take()) > 0
            assert cached.report["memory"]["used_bytes"] <= 3_000_000
    assert [reader.data for reader in slow] == [film.bytes_of(order) for order in range(2, 8)]
    assert cached.report["passed_by"] > 0


def test_a_segment_larger_than_the_memory_is_served(tmp_path):
    """As the store sends it."""
    cached = Cached(tmp_path, memory_bytes=500_000, **PLAIN)
    film = cached.add_film([BIG] * 3)
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)
    assert cached.report["memory"]["segments"] == 0


@pytest.fixture
def full(tmp_path):
    """A memory without room for any segment."""
    return Cached(tmp_path, memory_bytes=500_000, **PLAIN)


def test_one_fetch_for_everybody_without_memory(full):
    """Fifty readers of a segment that finds no room are one read of the store."""
    film = full.add_film([2 * BIG] * 4)
    full.store.hold()
    readings = [full.read_segment(film, 2) for _ in range(50)]
    full.store.release()
    assert {result(reading) for reading in readings} == {film.bytes_of(2)}
    assert full.opened() == [film.range_of(2)]
    assert full.store.open_now == 0
    assert len(full.engine._cache._relays) == 0


def test_who_is_too_slow_is_left_behind(full):
    """After a second; the others wait no longer for him, and he gets everything all the same."""
    film = full.add_film([2 * BIG] * 4)
    slow = SlowReader(full.engine.open(film.rendition, *film.range_of(2)))
    result(slow.take())
    quick = full.read_segment(film, 2)
    assert not quick.called
    for _ in range(40):
        full.clock.advance(1.0)
    assert result(quick) == film.bytes_of(2)
    while len(slow.data) < 2 * BIG:
        assert result(slow.take()) > 0
    assert slow.data == film.bytes_of(2)
    slow.leave()
    assert len(full.store.opened) == 2
    assert full.store.bytes_read < 2 * 2 * BIG
    assert full.store.open_now == 0


def test_a_shared_read_that_is_wrong_is_told_to_all(full):
    """One that left before disturbs nobody; and the next one begins anew."""
    film = full.add_film([2 * BIG] * 4)
    full.store.hold()
    readings = [full.read_segment(film, 2) for _ in range(3)]
    readings[0].cancel()
    assert result(readings[0]) is not None
    assert full.store.open_now == 1
    full.store.release()
    assert result(readings[1]) == result(readings[2]) == film.bytes_of(2)
    full.store.hold()
    full.engine._upstream._store = Flipping(full.store, film.segments[3].offset + 5)
    readings = [full.read_segment(film, 3) for _ in range(3)]
    full.store.release()
    assert all(result(reading).check(DocumentCorrupt) for reading in readings)
    assert result(full.read_segment(film, 3)) == film.bytes_of(3)
    assert len(full.engine._cache._relays) == 0


def test_a_slow_reader_holds_a_chunk_and_not_the_segment(tmp_path):
    """Its segment is evicted from under it, and it goes on from disk."""
    cached = Cached(tmp_path, memory_bytes=3_000_000, heads_bytes=0, ahead_s=0.0)
    film = cached.add_film([1_000_000] * 8)
    slow = SlowReader(cached.engine.open(film.rendition, *film.range_of(2)))
    assert result(slow.take()) <= 256 * 1024
    for order in (3, 4, 5, 6):
        assert result(cached.read_segment(film, order)) == film.bytes_of(order)
    assert cached.report["memory"]["evictions"] > 0
    while len(slow.data) < 1_000_000:
        assert result(slow.take()) > 0
    assert slow.data == film.bytes_of(2)
    assert len(cached.store.opened) == 5


def test_a_segment_leaves_the_memory_five_minutes_after_its_last_use(cached):
    """Not before, and counters are told each minute."""
    film = cached.add_film([BIG] * 4)
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)
    cached.clock.pump([60.0] * 4)
    assert result(cached.read_segment(film, 2)) == film.bytes_of(2)
    cached.clock.pump([60.0] * 4)
    assert cached.report["memory"]["segments"] == 1
    cached.clock.pump([60.0] * 3)
    assert cached.report["memory"]["segments"] == 0
    assert cached.clock.getDelayedCalls() == []
    assert [(use.segment_filename, use.accesses) for use in cached.recorded] == [("segment_0002.ts", 1)] * 2


def test_what_a_stalled_reader_began_to_read_is_freed(tmp_path):
    """All that stays of it is the chunk that he has."""
    cached = Cached(tmp_path, memory_bytes=3_000_000, heads_bytes=0, ahead_s=0.0)
    film = cached.add_film([1_000_000] * 30)
    slow = [SlowReader(cached.engine.open(film.rendition, *film.range_of(order))) for order in range(2, 20)]
    for reader in slow:
        result(reader.take())
    gc.collect()
    flights = [each for each in gc.get_objects() if isinstance(each, Flight)]
    assert len(flights) >= 5  # the others found no room
    assert sum(len(flight.data) for flight in flights) <= 3_000_000


# --- disk --------------------------------------------------------------------------------------------


@pytest.fixture
def on_disk(tmp_path):
    return Cached(tmp_path, heads_bytes=0, ahead_s=0.0)


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_disk_cache_survives_a_restart(on_disk, tmp_path):
    """Its files are ours alone."""
    film = on_disk.add_film([BIG] * 4)
    result(on_disk.read_segment(film, 2))
    (path,) = files_in(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    on_disk.start_engine()
    assert result(on_disk.read_segment(film, 2)) == film.bytes_of(2)
    assert len(on_disk.store.opened) == 1
    assert on_disk.report["hits"] == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "append", "empty", "swap"])
def test_a_damaged_file_is_never_served(on_disk, tmp_path, damage):
    """It is removed and fetched again."""
    film = on_disk.add_film([BIG] * 4)
    result(on_disk.read_segment(film, 2))
    (path,) = files_in(tmp_path)
    data = path.read_bytes()
    if damage == "swap":
        result(on_disk.read_segment(film, 3))
        (other,) = set(files_in(tmp_path)) - {path}
        data = other.read_bytes()
    spoilt = {
        "flip": data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        "cut": data[:-5],
        "append": data + b"x",
        "empty": b"",
        "swap": data,
    }
    path.write_bytes(spoilt[damage])
    on_disk.start_engine()
    before = len(on_disk.store.opened)
    assert result(on_disk.read_segment(film, 2)) == film.bytes_of(2)
    assert len(on_disk.store.opened) == before + 1
    assert len(path.read_bytes()) == BIG + 32


def test_an_interrupted_file_is_never_served(on_disk, tmp_path):
    """A kill leaves it under another name; an old one is removed at the next start."""
    film = on_disk.add_film([BIG] * 4)
    result(on_disk.read_segment(film, 2))
    (path,) = files_in(tmp_path)
    path.rename(path.with_name(f"{path.name}.1234.part"))
    on_disk.clock.advance(path.with_name(f"{path.name}.1234.part").stat().st_mtime + 4_000)
    on_disk.start_engine()
    assert result(on_disk.read_segment(film, 2)) == film.bytes_of(2)
    assert len(on_disk.store.opened) == 2
    assert files_in(tmp_path) == [path]


def test_the_disk_cache_stays_within_its_size(tmp_path):
    """What was used longest ago goes first."""
    cached = Cached(tmp_path, memory_bytes=0, disk_bytes=1_300_000, heads_bytes=0, ahead_s=0.0)
    cached.settings = cached.settings.__class__(
        folder=tmp_path, memory_bytes=5_000_000, disk_bytes=1_300_000, heads_bytes=0, ahead_s=0.0
    )
    cached.start_engine()
    film = cached.add_film([BIG] * 6)
    for order in (2, 3, 4):
        result(cached.read_segment(film, order))
        cached.clock.advance(200)
    assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 1_300_000 + 2 * 32
    names = {path.name for path in files_in(tmp_path)}
    assert names == {film.segments[order].sha256 for order in (3, 4)}


def test_cleaning_removes_what_was_not_used(on_disk, tmp_path):
    """By the time of the last use."""
    film = on_disk.add_film([BIG] * 4)
    result(on_disk.read_segment(film, 2))
    on_disk.clock.advance(1_000)
    result(on_disk.read_segment(film, 3))
    assert result(Deferred.fromCoroutine(on_disk.engine.clean(500.0))) == (1, BIG)
    assert [path.name for path in files_in(tmp_path)] == [film.segments[3].sha256]


# --- reading ahead -----------------------------------------------------------------------------------


@pytest.fixture
def ahead(tmp_path):
    return Cached(tmp_path, disk_bytes=0, heads_bytes=0)


def orders(cached, film, since=0):
    """Which segments the store was asked for, in turn."""
    return [
        next(segment.order for segment in film.segments if segment.offset <= start < segment.end)
        for start, _ in cached.opened()[since:]
    ]


def test_the_next_three_segments_are_read_ahead(ahead):
    """Of a viewer, who finds them there; nothing goes on when he stops."""
    film = ahead.add_film([BIG] * 12)
    for order in (2, 3, 4):
        result(ahead.read_segment(film, order))
        ahead.turn()
        assert orders(ahead, film) == list(range(2, order + 4))
    assert ahead.report["misses"] == 1
    ahead.clock.pump([60.0] * 30)
    assert orders(ahead, film) == list(range(2, 8))


def test_how_far_is_read_ahead_is_a_matter_of_seconds(tmp_path):
    """Of segments of 6 s: two in 10 s, five in 30 s."""
    for seconds, count in ((10.0, 2), (30.0, 5)):
        cached = Cached(tmp_path / str(count), disk_bytes=0, heads_bytes=0, ahead_s=seconds)
        film = cached.add_film([BIG] * 12)
        result(cached.read_segment(film, 2))
        cached.turn()
        assert orders(cached, film) == list(range(2, 3 + count))


def test_nothing_is_read_ahead_of_a_probe(ahead):
    """Segments 0 and 1 are asked for: no play yet. Then segment 2: a play."""
    film = ahead.add_film([5_000_000] * 6)
    result(ahead.read_segment(film, 0))
    result(ahead.read(film, film.segments[1].offset, film.segments[1].offset + 100_000))
    ahead.turn()
    assert set(orders(ahead, film)) == {0, 1}
    assert ahead.asked_ahead == []
    result(ahead.read_segment(film, 2))
    ahead.turn()
    assert set(orders(ahead, film)) == {0, 1, 2, 3, 4, 5}


def test_a_seek_drops_what_nobody_wants(ahead):
    """What was being read ahead of the old place is given up; what another viewer wants is not."""
    film = ahead.add_film([4_000_000] * 40)
    result(ahead.read_segment(film, 2, viewer="a"))
    result(ahead.read_segment(film, 10, viewer="b"))
    ahead.store.hold()
    ahead.turn()
    assert ahead.store.open_now == 6
    seek = ahead.read_segment(film, 30, viewer="a")
    ahead.turn()
    assert ahead.store.open_now == 4
    assert ahead.report["fetches_cancelled"] == 3
    ahead.store.release()
    assert result(seek) == film.bytes_of(30)


def test_the_line_is_left_to_who_waits(ahead):
    """Nothing is read ahead before half of what a viewer waits for has come."""
    film = ahead.add_film([BIG] * 12)
    ahead.store.break_after.append(BIG // 2 - 1)
    reading = ahead.read_segment(film, 2)
    ahead.turn()
    assert orders(ahead, film) == [2]
    ahead.store.break_after.append(BIG // 4)
    ahead.clock.advance(1)
    ahead.turn()
    assert len(ahead.store.opened) == 5
    ahead.clock.advance(1)
    assert result(reading) == film.bytes_of(2)


def test_what_is_on_its_way_goes_on_while_the_viewer_waits_for_his_own(ahead):
    """He asks for a segment that is not here yet: those behind it are not given up for it."""
    film = ahead.add_film([4_000_000] * 12)
    result(ahead.read_segment(film, 2))
    ahead.store.hold()
    ahead.turn()
    assert ahead.store.open_now == 3
    reading = ahead.read_segment(film, 3)
    ahead.turn()
    assert ahead.report["fetches_cancelled"] == 0
    ahead.store.release()
    assert result(reading) == film.bytes_of(3)
    ahead.turn()
    assert ahead.report["fetches_cancelled"] == 0
    assert sorted(orders(ahead, film)) == [2, 3, 4, 5, 6]


def test_the_depth_falls_when_the_memory_is_short(tmp_path):
    """Many viewers, one segment ahead each or none; the limit holds."""
    cached = Cached(tmp_path, memory_bytes=10 * BIG, disk_bytes=0, heads_bytes=0)
    films = [cached.add_film([BIG] * 12, seed=seed) for seed in range(5)]
    for order in (2, 3, 4):
        for film in films:
            assert result(cached.read_segment(film, order)) == film.bytes_of(order)
            cached.turn()
            assert cached.report["memory"]["used_bytes"] <= 10 * BIG
    assert cached.store.bytes_read <= 5 * 4 * BIG * 1.1


def test_what_is_begun_ahead_of_one_viewer_is_not_given_up_for_the_other(tmp_path):
    """How deep depends on how many viewers there are, also while one of them waits for his own segment."""
    cached = Cached(tmp_path, memory_bytes=8 * BIG, disk_bytes=0, heads_bytes=0)
    ready, waiting = (cached.add_film([BIG] * 12, seed=seed) for seed in range(2))
    result(cached.read_segment(ready, 2))
    cached.store.hold()
    reading = cached.read_segment(waiting, 2)
    for _ in range(5):
        cached.turn()
    assert cached.report["fetches_cancelled"] == 0
    assert cached.report["fetches_ahead"] == 2
    cached.store.release()
    assert result(reading) == waiting.bytes_of(2)


def test_the_store_is_told_early(ahead):
    """getFile for what comes, once for each document."""
    film = ahead.add_film([BIG] * 40, document_bytes=2 * BIG)
    for order in (2, 3, 4):
        result(ahead.read_segment(film, order))
        ahead.turn()
    told = [ref.file_unique_id for ref in ahead.asked_ahead]
    assert len(set(told)) == 7
    assert len(told) <= 9


# --- pinned heads ------------------------------------------------------------------------------------


@pytest.fixture
def pinned(tmp_path):
    return Cached(tmp_path, disk_bytes=0)


def pin(cached, film):
    return result(Deferred.fromCoroutine(cached.engine.pin(film.rendition)))


def test_a_probe_costs_nothing_upstream(pinned):
    """The initialization section, the beginning of segment 0 and of segment 1, after a restart."""
    film = pinned.add_film([5_000_000] * 6, init_bytes=2_000)
    assert pin(pinned, film) is None
    pinned.start_engine()
    before = len(pinned.store.opened)
    assert result(pinned.read(film, 0, 2_000)) == film.data[:2_000]
    assert result(pinned.read(film, 2_000, 1_200_000)) == film.data[2_000:1_200_000]
    first = film.segments[1].offset
    assert result(pinned.read(film, first, first + 120_000)) == film.data[first : first + 120_000]
    pinned.turn()
    assert len(pinned.store.opened) == before
    assert pinned.asked_ahead == []


def test_what_follows_the_head_is_fetched_when_a_probe_would_be_gone(pinned):
    """Only what is not there; and what comes after it is read ahead."""
    film = pinned.add_film([5_000_000] * 6)
    pin(pinned, film)
    pinned.start_engine()
    before = len(pinned.store.opened)
    reader = SlowReader(pinned.engine.open(film.rendition, *film.range_of(0)))
    while len(reader.data) < 3_000_000:
        result(reader.take())
    more = reader.take()
    pinned.clock.advance(0.29)
    assert len(pinned.store.opened) == before
    pinned.clock.advance(0.02)
    assert result(more) > 0
    assert pinned.opened()[before] == (3_000_000, 5_000_000)
    while len(reader.data) < 5_000_000:
        result(reader.take())
    assert reader.data == film.bytes_of(0)
    pinned.turn()
    assert set(orders(pinned, film, before + 1)) == {1, 2, 3}


def test_a_probe_that_wanted_more_than_the_head_and_left_cost_nothing(pinned):
    """Its socket's buffer wanted it."""
    film = pinned.add_film([5_000_000] * 6)
    pin(pinned, film)
    pinned.start_engine()
    before = len(pinned.store.opened)
    probe = pinned.read_segment(film, 0)
    pinned.clock.advance(0.2)
    probe.cancel()
    assert result(probe) is not None
    pinned.clock.advance(1.0)
    assert len(pinned.store.opened) == before


def test_a_head_is_kept_at_the_first_fetch(pinned, tmp_path):
    """A video that was ingested before there were heads."""
    film = pinned.add_film([5_000_000] * 6)
    result(pinned.read_segment(film, 0))
    (path,) = files_in(tmp_path)
    assert path.stat().st_size == 3_000_000 + 32


def test_heads_are_pinned_from_the_spool(pinned, tmp_path):
    """What was being stored is not read back for them, and its copies are gone afterwards."""
    film = pinned.add_film([5_000_000] * 6, init_bytes=2_000, document_bytes=8_000_000)
    spooled = tmp_path / "spooled"
    for document in film.documents:
        spooled.write_bytes(film.data[document.offset : document.end])
        keeping = pinned.engine.keep_first(spooled, document.number, document.ref.sha256)
        assert result(Deferred.fromCoroutine(keeping)) is None
    spooled.unlink()
    assert len(files_in(tmp_path)) == 3
    pin(pinned, film)
    assert pinned.store.opened == []
    assert pinned.report["bytes_fetched"] == 0
    assert pinned.report["heads"]["files"] == 3
    assert {path.parent.parent.name for path in files_in(tmp_path)} == {"heads"}


def test_a_copy_from_the_spool_that_is_wrong_is_not_used(pinned, tmp_path):
    """The store is read instead."""
    film = pinned.add_film([5_000_000] * 2)
    spooled = tmp_path / "spooled"
    spooled.write_bytes(film.data[:-1] + b"?")
    result(Deferred.fromCoroutine(pinned.engine.keep_first(spooled, 0, film.documents[0].ref.sha256)))
    pin(pinned, film)
    assert pinned.store.bytes_read == 10_000_000
    assert pinned.report["heads"]["files"] == 2


def test_heads_stay_within_their_budget(tmp_path):
    """The least recently watched goes."""
    cached = Cached(tmp_path, disk_bytes=0, heads_bytes=1_500_000)
    films = [cached.add_film([BIG, 300_000], seed=seed) for seed in range(3)]
    for film in films:
        result(cached.read_segment(film, 0))
        cached.clock.advance(10)
    assert {path.name for path in files_in(tmp_path)} == {
        f"{film.segments[0].sha256}-head" for film in films[1:]
    }


def test_a_wrong_head_is_thrown_away(pinned, tmp_path):
    """One that matches its own sha256 and not its segment's."""
    film = pinned.add_film([5_000_000] * 6)
    pin(pinned, film)
    other = pinned.add_film([5_000_000], seed=9)
    pin(pinned, other)
    right = tmp_path / "heads" / film.segments[0].sha256[:2] / f"{film.segments[0].sha256}-head"
    wrong = tmp_path / "heads" / other.segments[0].sha256[:2] / f"{other.segments[0].sha256}-head"
    right.write_bytes(wrong.read_bytes())
    pinned.start_engine()
    pinned.store.hold()
    reader = SlowReader(pinned.engine.open(film.rendition, *film.range_of(0)))
    while len(reader.data) < 3_000_000:
        result(reader.take())
    last = reader.take()
    pinned.clock.advance(1)
    pinned.store.release()
    assert result(last) > 0
    assert result(reader.take()).check(DocumentCorrupt)
    assert result(pinned.read_segment(film, 0)) == film.bytes_of(0)
    assert right.read_bytes()[:3_000_000] == film.data[:3_000_000]
