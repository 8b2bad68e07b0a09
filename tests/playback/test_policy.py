# SPDX-License-Identifier: MIT
"""What is kept, what is read ahead, who is a viewer: decisions, without a reactor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import playback_policy
from tgsyncd.playback.policy import (
    HEAD_BYTES,
    MAX_AHEAD,
    Kept,
    Playhead,
    choose_ahead,
    choose_depth,
    count_ahead,
    distance,
    head_bytes,
    is_beyond_head,
    order_evictions,
    plan_eviction,
    shall_finish,
)
from tgsyncd.playback.sessions import LIVE_S, Sessions


def kept(order, *, stream="a", is_read=False, used_s=0.0, size=10, is_spilled=False):
    return Kept(
        key=f"{stream}{order}",
        stream=stream,
        order=order,
        size_bytes=size,
        last_used_s=used_s,
        is_read=is_read,
        is_spilled=is_spilled,
    )


HEADS = [Playhead(stream="a", order=10), Playhead(stream="b", order=3)]


def test_the_distance_is_to_the_nearest_viewer_behind():
    """Nobody goes backwards."""
    assert distance("a", 12, [*HEADS, Playhead(stream="a", order=11)]) == 1
    assert distance("a", 10, HEADS) == 0
    assert distance("a", 9, HEADS) is None
    assert distance("c", 3, HEADS) is None


def test_consumed_goes_first_then_what_dead_sessions_left_then_the_farthest():
    """And within the first two what was used longest ago."""
    here = [
        kept(11),
        kept(13),
        kept(9, is_read=True, used_s=5.0),
        kept(8, is_read=True, used_s=4.0),
        kept(7, stream="gone", used_s=1.0),
        kept(6, stream="gone", used_s=2.0),
        kept(5, stream="b"),
    ]
    order = [each.key for each, _ in order_evictions(here, HEADS)]
    assert order == ["a8", "a9", "gone7", "gone6", "a13", "b5", "a11"]


def test_what_the_viewer_at_it_has_read_is_consumed():
    """Unless somebody comes behind."""
    assert order_evictions([kept(10, is_read=True)], HEADS)[0][1] is None
    behind = [*HEADS, Playhead(stream="a", order=8)]
    assert order_evictions([kept(10, is_read=True)], behind)[0][1] == 2


def test_a_newcomer_takes_no_place_that_is_wanted_as_soon():
    """So that two viewers never push out each other's segments in turn."""
    here = [kept(11), kept(12)]
    assert plan_eviction(here, HEADS, need_bytes=10, newcomer_distance=1) == ["a12"]
    assert plan_eviction(here, HEADS, need_bytes=20, newcomer_distance=1) is None
    assert plan_eviction(here, HEADS, need_bytes=20, newcomer_distance=0) == ["a12", "a11"]
    on_disk = [kept(11, is_spilled=True)]
    assert plan_eviction(on_disk, HEADS, need_bytes=10, newcomer_distance=3) == ["a11"]


@given(
    sizes=st.lists(st.integers(1, 50), max_size=20),
    need=st.integers(-5, 400),
    away=st.integers(0, 3),
)
def test_an_eviction_frees_enough_and_nothing_more_than_it_must(sizes, need, away):
    """Whatever is there."""
    here = [kept(order, size=size, is_read=order % 3 == 0) for order, size in enumerate(sizes)]
    keys = plan_eviction(here, HEADS, need_bytes=need, newcomer_distance=away)
    by_key = {each.key: each.size_bytes for each in here}
    if keys is not None:
        assert sum(by_key[key] for key in keys) >= need
        assert sum(by_key[key] for key in keys[:-1]) < max(need, 1)


@pytest.mark.parametrize(
    ("viewers", "mean_mb", "depth"),
    [(1, 13, 3), (2, 13, 2), (3, 13, 1), (8, 13, 1), (1, 5, 3), (4, 5, 3), (6, 5, 2), (8, 5, 1), (0, 5, 3)],
)
def test_the_depth_falls_with_the_viewers_and_their_bit_rate(viewers, mean_mb, depth):
    """Of 100 MB; one at least."""
    assert (
        choose_depth(budget_bytes=100_000_000, viewers=viewers, mean_bytes=mean_mb * 1e6, max_depth=3)
        == depth
    )


@pytest.mark.parametrize(
    ("durations_s", "ahead_s", "count"),
    [
        ([6.0] * 20, 18.0, 3),
        ([6.006] * 20, 18.0, 3),
        ([5.8] * 20, 18.0, 3),
        ([2.0] * 20, 18.0, 9),
        ([20.0] * 20, 18.0, 1),
        ([0.04] * 900, 18.0, MAX_AHEAD),
        ([6.0, 6.0], 18.0, 2),
        ([600.0, 6.0], 18.0, 1),
        ([6.0] * 20, 0.0, 0),
        ([], 18.0, 0),
    ],
)
def test_it_is_seconds_that_are_read_ahead(durations_s, ahead_s, count):
    """Of long segments few, of short ones many, and one at least."""
    assert count_ahead(durations_s, ahead_s) == count


def test_no_reading_ahead_when_it_is_switched_off():
    """A setting of 0 is obeyed."""
    assert choose_depth(budget_bytes=10**9, viewers=1, mean_bytes=1.0, max_depth=0) == 0


def test_the_nearest_of_all_viewers_come_first():
    """Everybody's next one before anybody's second."""
    first, second = HEADS
    assert choose_ahead(HEADS, 2) == [(first, 1), (second, 1), (first, 2), (second, 2)]


@pytest.mark.parametrize(
    ("order", "filled", "wanted", "goes_on"),
    [
        (0, 0, False, True),
        (1, 0, False, True),
        (2, 0, False, False),
        (2, 0, True, True),
        (2, 7_400_000, False, False),
        (2, 7_500_000, False, True),
    ],
)
def test_a_fetch_that_nobody_reads_goes_on_when_it_is_worth_it(order, filled, wanted, goes_on):
    """For the play after a probe, for a viewer who comes, or because it is nearly here."""
    assert (
        shall_finish(order=order, filled_bytes=filled, size_bytes=10_000_000, is_wanted_ahead=wanted)
        is goes_on
    )
    assert shall_finish(order=9, filled_bytes=0, size_bytes=1 << 20, is_wanted_ahead=False)


def test_heads_are_of_the_first_two_segments_and_the_initialization_section():
    """3 MB, 256 KB, all of it."""
    assert [head_bytes(order, 10**7) for order in (-1, 0, 1, 2, None)] == [10**7, 3_000_000, 256_000, 0, 0]
    assert head_bytes(0, 1_000) == 1_000


def test_who_wants_more_than_the_head_is_beyond_it():
    """Of a segment that has one."""
    assert not is_beyond_head(0, 0, HEAD_BYTES[0] - 1)
    assert is_beyond_head(0, 0, HEAD_BYTES[0])
    assert is_beyond_head(1, 5, HEAD_BYTES[1])
    assert not is_beyond_head(1, HEAD_BYTES[1], HEAD_BYTES[1])
    assert not is_beyond_head(2, 0, 10**9)
    assert not is_beyond_head(None, 0, 10**9)


# --- who is a viewer ---------------------------------------------------------------------------------


def test_the_next_request_is_the_same_viewer():
    """By place, when nothing else is known."""
    sessions = Sessions()
    first = sessions.note("a", 5, "", 0.0)
    assert sessions.note("a", 6, "", 6.0) is first
    assert sessions.note("a", 6, "", 7.0) is first
    assert sessions.note("a", 9, "", 8.0) is not first
    assert sessions.note("b", 7, "", 9.0) is not first


def test_two_viewers_behind_one_address_are_two():
    """Each goes on where he was."""
    sessions = Sessions()
    first, second = sessions.note("a", 5, "x", 0.0), sessions.note("a", 50, "x", 1.0)
    for order in range(1, 5):
        assert sessions.note("a", 5 + order, "x", order * 6.0) is first
        assert sessions.note("a", 50 + order, "x", order * 6.0 + 1) is second
    assert [head.order for head in sessions.playheads(30.0)] == [9, 54]


def test_a_viewer_who_jumps_is_not_where_he_was():
    """Another one, who comes from elsewhere, is."""
    sessions = Sessions()
    sessions.note("a", 5, "x", 0.0)
    sessions.note("a", 5, "y", 0.0)
    sessions.note("a", 80, "x", 1.0)
    assert [(head.stream, head.order) for head in sessions.playheads(2.0)] == [("a", 5), ("a", 80)]


def test_many_jumps_leave_few_sessions():
    """Each request looks at all of them."""
    sessions = Sessions()
    for order in range(10, 1000, 10):
        sessions.note("a", order, "x", 1.0)
    assert len(sessions) <= 2
    assert [head.order for head in sessions.playheads(2.0)] == [990]


def test_a_probe_in_the_middle_of_a_film_is_no_jump():
    """Jellyfin asks for segments 0 and 1 at every Play."""
    sessions = Sessions()
    sessions.note("a", 50, "x", 0.0)
    sessions.note("a", 0, "x", 1.0)
    sessions.note("a", 1, "x", 1.0)
    assert sorted(head.order for head in sessions.playheads(2.0)) == [1, 50]


def test_a_viewer_is_forgotten():
    """After two minutes without a request."""
    sessions = Sessions()
    sessions.note("a", 5, "", 0.0).is_playing = True
    assert sessions.playing(LIVE_S - 1)
    assert sessions.playing(LIVE_S) == sessions.playheads(LIVE_S) == []


# --- the simulation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("viewers", "sizes_mb"), [(1, (6.0, 19.9)), (3, (6.0, 19.9)), (5, (6.0, 19.9)), (8, (2.0, 8.0))]
)
def test_viewers_find_their_segments_and_nothing_is_fetched_twice(viewers, sizes_mb):
    """Where LRU finds 2 to 8 % and fetches everything nearly four times."""
    trace = playback_policy.Trace(viewers, sizes_mb, 250)
    hits, amplification = playback_policy.run(playback_policy.Ours(100_000_000, films=trace.films), trace)
    assert hits >= 0.94
    assert amplification <= 1.06
