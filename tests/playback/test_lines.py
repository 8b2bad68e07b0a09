# SPDX-License-Identifier: MIT
"""A second bot when one is late, several connections when one is slow: decided, and done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
ALONE = {"disk_bytes": 0, "heads_bytes": 0, "ahead_segments": 0}


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


SLOW = {"arrived_bytes": MB, "measured_s": 1.0, "need_bytes_per_s": MB, "largest_part_bytes": 4 * MB}


@pytest.mark.parametrize(
    ("change", "adds"),
    [
        ({}, True),
        ({"arrived_bytes": 1_300_000}, False),
        ({"measured_s": 0.9, "arrived_bytes": 0}, False),
        ({"need_bytes_per_s": 0.0}, False),
        ({"largest_part_bytes": MB}, False),
        ({"connections": MAX_CONNECTIONS}, False),
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
