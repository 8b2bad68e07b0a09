# SPDX-License-Identifier: MIT
"""A second bot when one is late, several connections when one is slow: decided, and done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.failure import Failure

from tests.playback.bots import Bot, BotsStore
from tests.playback.cached import Cached, result
from tgsyncd.playback.lines import (
    HEDGE_BURST,
    HEDGE_CEILING_S,
    HEDGE_FLOOR_S,
    HEDGE_SHARE,
    HEDGE_UNLEARNED_S,
    MAX_CONNECTIONS,
    Waits,
    hedge_after_s,
    may_hedge,
    shall_add_connection,
)
from tgsyncd.playback.upstream import Patience

MB = 1_000_000
ALONE = {"disk_bytes": 0, "heads_bytes": 0, "ahead_s": 0.0}


# --- decisions ---------------------------------------------------------------------------------------


def test_what_is_usual_is_learned():
    """From a few waits on; one that was long among many is nothing usual."""
    waits = Waits()
    for _ in range(7):
        waits.note(0.5)
    assert waits.usual_s is None
    for _ in range(93):
        waits.note(0.5)
    waits.note(30.0)
    assert waits.usual_s == 0.5
    for _ in range(200):
        waits.note(2.0)
    assert waits.usual_s == 2.0


def test_late_is_more_than_usual():
    """Never earlier than a second, never later than a player has film in hand."""
    assert hedge_after_s(None) == HEDGE_UNLEARNED_S
    assert hedge_after_s(0.01) == HEDGE_FLOOR_S
    assert hedge_after_s(2.0) == 3.0
    assert hedge_after_s(500.0) == HEDGE_CEILING_S


@given(reads=st.integers(0, 10_000))
def test_hedges_are_a_small_share_of_all_reads(reads):
    """Also when every read is late."""
    hedges = 0
    for done in range(1, reads + 1):
        hedges += may_hedge(bots=2, hedges=hedges, reads=done)
    assert hedges <= HEDGE_BURST + HEDGE_SHARE * reads + 1
    assert not may_hedge(bots=1, hedges=0, reads=10**6)


SLOW = {
    "arrived_bytes": MB,
    "measured_s": 1.0,
    "need_bytes_per_s": MB,
    "largest_part_bytes": 4 * MB,
    "busy_s": 0.4,
}


@pytest.mark.parametrize(
    ("change", "adds"),
    [
        ({}, True),
        ({"arrived_bytes": 1_300_000}, False),
        ({"measured_s": 0.9, "arrived_bytes": 0}, False),
        ({"need_bytes_per_s": 0.0}, False),
        ({"largest_part_bytes": MB}, False),
        ({"connections": MAX_CONNECTIONS}, False),
        ({"busy_s": 0.6}, False),
    ],
)
def test_a_connection_is_added_when_the_others_are_slower_than_the_video(change, adds):
    """By a quarter more than it needs, measured, and while there is enough left to divide."""
    assert shall_add_connection(**{"connections": 1, **SLOW, **change}) is adds


# --- a second bot ------------------------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path):
    return Cached(tmp_path, **ALONE)


def with_bots(cached, *bots, **more):
    """Have the engine read from these bots."""
    store = BotsStore(cached.store, cached.clock, bots, **more)
    cached.engine._upstream.__init__(
        cached.reader, store, cached.clock, patience=Patience(first_delay_s=1, budget_s=100)
    )
    return store


def pass_time(cached, seconds, step_s=0.05):
    cached.clock.pump([step_s] * round(seconds / step_s))


def test_another_bot_is_asked_when_one_is_late(cached):
    """Its bytes are taken, and the late one is let go."""
    film = cached.add_film([MB] * 4)
    store = with_bots(cached, Bot(first_s=None), Bot(first_s=0.5))
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S - 0.1)
    assert [bot for bot, _, _ in store.opened] == [0]
    pass_time(cached, 1.0)
    assert result(reading) == film.bytes_of(2)
    assert [bot for bot, _, _ in store.opened] == [0, 1]
    assert +store.open_now == {}
    assert store.bytes_read == {1: MB}
    assert cached.report["hedges_won"] == 1


def test_nobody_waits_for_the_late_one_to_give_up(cached):
    """Cancelled, it may go on for a moment: the bytes of the other are here meanwhile."""
    film = cached.add_film([MB] * 4)
    store = with_bots(cached, Bot(first_s=None, gives_up_s=5.0), Bot(first_s=0.5))
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S + 1)
    assert result(reading) == film.bytes_of(2)
    assert +store.open_now == {0: 1}
    pass_time(cached, 5.0)
    assert +store.open_now == {}


def test_the_late_one_may_still_be_the_first(cached):
    """Then the other is let go."""
    film = cached.add_film([MB] * 4)
    store = with_bots(cached, Bot(first_s=HEDGE_UNLEARNED_S + 0.2), Bot(first_s=2.0))
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S + 1)
    assert result(reading) == film.bytes_of(2)
    assert store.bytes_read == {0: MB}
    assert +store.open_now == {}
    assert (cached.report["hedges"], cached.report["hedges_won"]) == (1, 0)


def test_a_bot_that_falls_silent_in_the_middle_is_late_too(cached):
    """The other goes on at the byte reached."""
    film = cached.add_film([MB] * 4)
    offset = film.segments[2].offset
    store = with_bots(cached, Bot(stalls_at=offset + 500_000), Bot())
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S + 1)
    assert result(reading) == film.bytes_of(2)
    assert sum(store.bytes_read.values()) == MB


def test_one_that_fails_leaves_it_to_the_other(cached):
    """Whichever of the two it is."""
    film = cached.add_film([MB] * 4)
    with_bots(cached, Bot(first_s=HEDGE_UNLEARNED_S + 1, fails=True), Bot(first_s=3.0))
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S + 4)
    assert result(reading) == film.bytes_of(2)
    with_bots(cached, Bot(first_s=HEDGE_UNLEARNED_S + 3), Bot(first_s=1.0, fails=True))
    reading = cached.read_segment(film, 3)
    pass_time(cached, HEDGE_UNLEARNED_S + 4)
    assert result(reading) == film.bytes_of(3)


def test_a_store_with_one_bot_is_asked_once(cached):
    """It is waited for, as ever."""
    film = cached.add_film([MB] * 4)
    store = with_bots(cached, Bot(first_s=20.0))
    reading = cached.read_segment(film, 2)
    pass_time(cached, 21.0)
    assert result(reading) == film.bytes_of(2)
    assert len(store.opened) == 1


def test_a_store_that_is_slow_as_ever_is_not_asked_twice(cached):
    """What is usual is not late; and when all is late, only a small share is asked twice."""
    film = cached.add_film([100_000] * 300)
    store = with_bots(cached, Bot(first_s=3.0), Bot(first_s=3.0))
    for order in range(2, 42):
        reading = cached.read_segment(film, order)
        pass_time(cached, 4.0, step_s=0.5)
        assert result(reading) == film.bytes_of(order)
    assert len(store.opened) == 40
    store.bots = [Bot(first_s=12.0), Bot(first_s=12.0)]
    for order in range(42, 82):
        reading = cached.read_segment(film, order)
        pass_time(cached, 16.0, step_s=0.5)
        assert result(reading) == film.bytes_of(order)
    assert cached.report["hedges"] <= HEDGE_BURST + HEDGE_SHARE * 80 + 1
    assert sum(store.bytes_read.values()) == 80 * 100_000


def test_who_leaves_during_a_hedge_frees_both(cached):
    """And no timer stays."""
    film = cached.add_film([4 * MB] * 4)
    store = with_bots(cached, Bot(first_s=None), Bot(first_s=None))
    reading = cached.read_segment(film, 2)
    pass_time(cached, HEDGE_UNLEARNED_S + 1)
    assert sum(store.open_now.values()) == 2
    reading.cancel()
    assert result(reading) is not None
    assert sum(store.open_now.values()) == 0
    cached.turn()
    assert len(cached.clock.getDelayedCalls()) == 1  # the minute's


# --- several connections -----------------------------------------------------------------------------


def seconds_until_there(cached, reading, most=60.0):
    """Let time pass, from one thing that happens to the next."""
    clock, begun = cached.clock, cached.clock.seconds()
    while not reading.called and clock.seconds() - begun < most:
        soonest = min(call.getTime() for call in clock.getDelayedCalls())
        clock.advance(max(soonest - clock.seconds(), 0.0))
    return clock.seconds() - begun


def test_a_segment_slower_than_it_plays_comes_by_several_connections(cached):
    """6 s of 24 Mbit/s, and 8 Mbit/s a connection: in turn it would take 18 s. No byte comes twice."""
    film = cached.add_film([18 * MB] * 3)
    store = with_bots(cached, Bot(bytes_per_s=MB), Bot(bytes_per_s=MB))
    reading = cached.read_segment(film, 2)
    took_s = seconds_until_there(cached, reading)
    assert result(reading) == film.bytes_of(2)
    assert took_s < 8.5
    assert len({bot for bot, _, _ in store.opened}) == 2
    assert 2 <= cached.report["connections_added"] <= MAX_CONNECTIONS - 1
    assert sum(store.bytes_read.values()) <= 18 * MB * 1.03
    assert +store.open_now == {}


def test_a_line_that_is_fast_enough_stays_one(cached):
    """Once and a half what the video needs."""
    film = cached.add_film([6 * MB] * 3)
    store = with_bots(cached, Bot(bytes_per_s=1.5 * MB), Bot())
    reading = cached.read_segment(film, 2)
    seconds_until_there(cached, reading)
    assert result(reading) == film.bytes_of(2)
    assert len(store.opened) == 1


def test_where_ranges_are_not_honoured_it_stays_one(cached):
    """Each further connection would bring everything that stands before its part."""
    film = cached.add_film([18 * MB] * 3)
    store = with_bots(cached, Bot(bytes_per_s=MB), Bot(bytes_per_s=MB), ranges=False)
    reading = cached.read_segment(film, 2)
    assert seconds_until_there(cached, reading) > 17
    assert result(reading) == film.bytes_of(2)
    assert len(store.opened) == 1


def test_what_nobody_waits_for_comes_by_one_connection(tmp_path):
    """Reading ahead has time."""
    cached = Cached(tmp_path, disk_bytes=0, heads_bytes=0)
    film = cached.add_film([600_000, 600_000, 600_000, 18 * MB])
    store = with_bots(cached, Bot(bytes_per_s=MB), Bot(bytes_per_s=MB))
    reading = cached.read_segment(film, 2)
    seconds_until_there(cached, reading)
    pass_time(cached, 20.0)
    assert len(store.opened) == 2
    assert cached.report["connections_added"] == 0


def test_one_connection_that_breaks_for_good_ends_all(cached):
    """And the reader is told; nothing is read on for nobody."""
    film = cached.add_film([18 * MB] * 3, document_bytes=9 * MB)
    store = with_bots(cached, Bot(bytes_per_s=MB), Bot(bytes_per_s=MB))
    reading = cached.read_segment(film, 2)
    pass_time(cached, 2.0)
    assert sum(store.open_now.values()) >= 2
    store.bots = [Bot(fails=True)] * 2
    seconds_until_there(cached, reading, most=250.0)
    assert isinstance(result(reading), Failure)
    assert +store.open_now == {}


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(MB, 8 * MB),
    document_bytes=st.integers(400_000, 5 * MB),
    speeds=st.lists(st.integers(100_000, 3 * MB), min_size=1, max_size=3),
    origin=st.just(0) | st.integers(0, 8 * MB),
)
def test_any_segment_comes_whole_by_any_number_of_lines(
    tmp_path_factory, size, document_bytes, speeds, origin
):
    """From wherever its first reader begins."""
    cached = Cached(tmp_path_factory.mktemp("cache"), **ALONE)
    film = cached.add_film([1, 1, size], document_bytes=document_bytes)
    store = with_bots(cached, *(Bot(bytes_per_s=speed) for speed in speeds))
    first, stop = film.range_of(2)
    first += origin % size
    reading = cached.read(film, first, stop)
    seconds_until_there(cached, reading, most=300.0)
    assert result(reading) == film.data[first:stop]
    if first == film.segments[2].offset:
        assert sum(store.bytes_read.values()) <= size + MAX_CONNECTIONS * 8 * 65_536
    whole = cached.read_segment(film, 2)
    seconds_until_there(cached, whole, most=300.0)
    assert result(whole) == film.bytes_of(2)


def test_a_reader_who_has_what_he_wanted_ends_the_fetch_from_within(cached, caplog):
    """The chunk that he leaves with is the one that is being handled."""
    film = cached.add_film([1, 1, 8 * MB])
    store = with_bots(cached, Bot(bytes_per_s=MB))
    first, _ = film.range_of(2)
    reading = cached.read(film, first, first + 100_000)
    seconds_until_there(cached, reading)
    assert result(reading) == film.data[first : first + 100_000]
    pass_time(cached, 3.0)
    assert +store.open_now == {}
    assert store.bytes_read[0] < MB
    assert cached.report["memory"]["used_bytes"] == 0
