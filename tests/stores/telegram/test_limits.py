# SPDX-License-Identifier: MIT
"""The budgets: what may be sent, by whom, when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.stores.telegram.limits import LimitRules, Limits, Slot, Wait
from tgsyncd.stores.telegram.memory import Remembered, parse_remembered, render_remembered

START_S = 1_795_334_400.0
FAST = LimitRules(chat_interval_s=0.0)


def send_for(limits, seconds, pairs, *, duration_s=0.0, start_s=START_S):
    """Send as fast as the limits allow; return (time of arrival, bot, chat) of all messages."""
    sent = []
    now_s = start_s
    while now_s < start_s + seconds:
        choice = limits.choose(now_s, pairs)
        if isinstance(choice, Slot):
            limits.finish(choice, now_s + duration_s)
            sent.append((now_s + duration_s, choice.bot_id, choice.chat_id))
        else:
            now_s = max(now_s + 0.001, choice.until_s)
    return sent


def most_in(times, window_s):
    """The most events in any window of this length."""
    times = sorted(times)
    return max(sum(1 for at in times if start <= at < start + window_s) for start in times)


def test_twenty_a_minute_and_no_more():
    """The limit is kept in every window of a minute, and used wholly."""
    sent = send_for(Limits(LimitRules()), 600, [(1, -1)])
    assert most_in([at for at, _, _ in sent], 60) == 20
    assert len(sent) >= 195


def test_one_a_second():
    """Also when the minute has room."""
    sent = send_for(Limits(LimitRules()), 15, [(1, -1)])
    assert most_in([at for at, _, _ in sent], 0.999) == 1


def test_thirty_a_second_by_one_bot():
    """However many chats it has."""
    limits = Limits(LimitRules(chat_interval_s=0.0, messages_per_minute=1000))
    sent = send_for(limits, 3, [(1, -chat) for chat in range(1, 9)])
    assert most_in([at for at, _, _ in sent], 0.999) == 30


def test_bots_and_chats_share_the_work_evenly():
    """Four bots in three chats: each pair gets its part."""
    pairs = [(bot, chat) for bot in (1, 2, 3, 4) for chat in (-1, -2, -3)]
    sent = send_for(Limits(FAST), 600, pairs)
    counts = [sum(1 for _, bot, chat in sent if (bot, chat) == pair) for pair in pairs]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) >= 0.95 * 12 * 200


def test_an_idle_library_spreads_its_few_documents():
    """Four messages, two bots, two chats: one each."""
    pairs = [(1, -1), (1, -2), (2, -1), (2, -2)]
    limits = Limits(LimitRules())
    taken = []
    for n in range(4):
        slot = limits.choose(START_S + n, pairs)
        limits.finish(slot, START_S + n)
        taken.append((slot.bot_id, slot.chat_id))
    assert sorted(taken) == sorted(pairs)


def test_a_flood_wait_stops_one_bot_in_one_chat():
    """Not the bot elsewhere, not the other bot."""
    limits = Limits(LimitRules())
    pairs = [(1, -1), (1, -2), (2, -1)]
    slot = limits.choose(START_S, [(1, -1)])
    limits.flood(slot, START_S, 10_072)
    free = {pair for pair in pairs if (limits.ready_at_s(START_S + 2, *pair) or 0) <= START_S + 2}
    assert free == {(1, -2), (2, -1)}
    assert limits.choose(START_S + 10_000, [(1, -1)]) == Wait(until_s=START_S + 10_072.05)
    assert isinstance(limits.choose(START_S + 10_073, [(1, -1)]), Slot)


def test_a_wait_for_no_chat_stops_the_bot_everywhere():
    """getFile's 429 names no chat."""
    limits = Limits(LimitRules())
    limits.flood_bot(1, START_S, 30)
    assert limits.blocked_until_s(START_S, 1) > START_S
    assert isinstance(limits.choose(START_S, [(1, -1)]), Wait)
    assert isinstance(limits.choose(START_S, [(2, -1)]), Slot)


def learned(rules, took_s=4.0, size_bytes=100):
    """Limits that have seen how long uploads of this size take, a while ago."""
    limits = Limits(rules)
    for n in range(5):
        slot = limits.choose(START_S - 1000 + 10 * n, [(1, -1)], size_bytes)
        limits.finish(slot, START_S - 1000 + 10 * n + took_s)
    return limits


def test_a_small_upload_does_not_arrive_on_the_heels_of_a_large_one():
    """They begin as far apart as makes them arrive a second apart, but at most two seconds more."""
    limits = learned(LimitRules())
    assert isinstance(limits.choose(START_S, [(1, -1)], 100), Slot)
    assert limits.choose(START_S, [(1, -1)], 100) == Wait(until_s=START_S + 1.05)
    assert limits.choose(START_S, [(1, -1)], 75) == Wait(until_s=START_S + 1.05 + 1.0)
    assert limits.choose(START_S, [(1, -1)], 1) == Wait(until_s=START_S + 1.05 + 2.0)
    assert limits.choose(START_S, [(1, -1)]) == Wait(until_s=START_S + 1.05), "of unknown size"


def test_a_short_wait_within_the_budget_does_not_unlearn_how_long_uploads_take():
    """It was the second, not the minute; a wait with the minute used up says that uploads were too early."""
    limits = learned(FAST)
    took_s = limits._pair(1, -1).lead_s(100)
    assert took_s > 3
    limits.flood(limits.choose(START_S, [(1, -1)], 100), START_S + 4, 1)
    assert limits._pair(1, -1).lead_s(100) == took_s
    for n in range(20):
        limits.finish(limits.choose(START_S + 10 + n, [(1, -1)], 100), START_S + 10.5 + n)
    limits.flood(limits.choose(START_S + 70.2, [(1, -1)], 100), START_S + 70.4, 1)
    assert limits._pair(1, -1).lead_s(100) == 0.0


def test_what_is_in_flight_holds_its_slot():
    """Twenty uploads at once are twenty messages, although none has arrived."""
    limits = Limits(FAST)
    slots = [limits.choose(START_S, [(1, -1)]) for _ in range(20)]
    assert all(isinstance(slot, Slot) for slot in slots)
    assert limits.choose(START_S, [(1, -1)]) == Wait(until_s=None)
    limits.cancel(slots[0])
    assert isinstance(limits.choose(START_S, [(1, -1)]), Slot)


def test_uploading_costs_no_slots():
    """An upload of 6 s starts early enough to arrive when its slot is free, and not before."""
    limits = Limits(FAST)
    in_flight, arrivals = [], []
    now_s = START_S
    while now_s < START_S + 1200:
        for slot in [slot for slot in in_flight if slot.begun_at_s + 6 <= now_s]:
            in_flight.remove(slot)
            limits.finish(slot, now_s)
            arrivals.append(now_s)
        choice = limits.choose(now_s, [(1, -1)])
        if isinstance(choice, Slot):
            in_flight.append(choice)
        now_s += 0.05
    assert most_in(arrivals, 60) == 20
    assert len(arrivals) >= 0.97 * 400


def flooded_chat(limits, pairs, *, per_chat, seconds):
    """A server that counts all bots of the chat together; return its acceptances and refusals."""
    accepted, refused = [], 0
    now_s = START_S
    while now_s < START_S + seconds:
        choice = limits.choose(now_s, pairs)
        if isinstance(choice, Wait):
            now_s = max(now_s + 0.01, choice.until_s)
            continue
        recent = [at for at in accepted if at > now_s - 60]
        if len(recent) >= per_chat:
            refused += 1
            limits.flood(choice, now_s, max(1, int(recent[-per_chat] + 60 - now_s) + 1))
        else:
            accepted.append(now_s)
            limits.finish(choice, now_s)
    return accepted, refused


def test_a_small_document_does_not_arrive_too_early():
    """A film's first documents take a fifth of the time of its others, and begin so much nearer the slot."""
    limits = Limits(FAST)
    slots = [limits.choose(START_S + number, [(1, -1)], 20_000_000) for number in range(20)]
    for slot in slots:
        limits.finish(slot, slot.begun_at_s + 4.0)
    large_s = limits.ready_at_s(START_S + 24, 1, -1, 20_000_000)
    small_s = limits.ready_at_s(START_S + 24, 1, -1, 4_000_000)
    assert round(small_s - large_s, 3) == round((4.0 - 0.8) * 0.9, 3)


def test_a_chat_that_counts_its_bots_together_is_found_out():
    """A handful of refusals, then the one budget is shared and used."""
    limits = Limits(LimitRules())
    pairs = [(bot, -1) for bot in (1, 2, 3, 4)]
    accepted, refused = flooded_chat(limits, pairs, per_chat=20, seconds=3600)
    assert limits.is_shared(-1, START_S + 3600)
    assert refused <= 10
    assert len(accepted) >= 0.95 * 1200


def test_a_burst_that_is_refused_is_no_proof():
    """A few 429 of a second or two when all begin at once must not slow four bots down to one."""
    limits = Limits(LimitRules())
    pairs = [(bot, -1) for bot in (1, 2, 3, 4)]
    now_s, accepted = START_S, 0
    while now_s < START_S + 600:
        choice = limits.choose(now_s, pairs)
        if isinstance(choice, Wait):
            now_s = max(now_s + 0.01, choice.until_s)
        elif accepted in (20, 22, 23, 25, 100, 101):
            accepted += 1
            limits.flood(choice, now_s, 2)
        else:
            accepted += 1
            limits.finish(choice, now_s)
    assert not limits.is_shared(-1, now_s)
    assert accepted >= 0.9 * 80 * 10


def test_state_survives_a_restart():
    """The blocked stay blocked, and the minute before the restart counts."""
    limits = Limits(LimitRules())
    send_for(limits, 25, [(1, -1)])
    slot = limits.choose(START_S + 26, [(2, -2)])
    limits.flood(slot, START_S + 26, 10_000)
    limits.flood_bot(3, START_S + 26, 500)
    state = limits.export(START_S + 30)
    kept = parse_remembered(render_remembered(Remembered(limits=state, highest={-1: 7})))
    assert kept == Remembered(limits=state, highest={-1: 7})
    again = Limits(LimitRules(), kept.limits)
    for pair in [(1, -1), (2, -2), (3, -3)]:
        assert again.ready_at_s(START_S + 31, *pair) == limits.ready_at_s(START_S + 31, *pair)


def test_what_is_in_flight_at_the_end_counts_after_the_restart():
    """It may have arrived."""
    limits = Limits(FAST)
    for _ in range(20):
        limits.choose(START_S, [(1, -1)])
    again = Limits(FAST, limits.export(START_S + 1))
    assert isinstance(again.choose(START_S + 2, [(1, -1)]), Wait)


def test_a_wall_clock_that_was_set_back_blocks_nobody_for_long():
    """A wait keeps its length, and old messages count as of now at the latest."""
    limits = Limits(LimitRules())
    send_for(limits, 25, [(1, -1)])
    limits.flood_bot(2, START_S, 100)
    back_s = START_S - 86_400
    assert limits.ready_at_s(back_s, 1, -1) <= back_s + 61
    assert limits.ready_at_s(back_s, 2, -1) <= back_s + 101


def test_a_broken_state_file_is_refused():
    """The caller then starts without."""
    for text in ("", "{}", "[]", '{"version": 2}', '{"version": 1, "pairs": [{}]}'):
        try:
            parse_remembered(text)
        except ValueError:
            continue
        raise AssertionError(text)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["choose", "finish", "cancel", "flood", "bot"]),
            st.floats(0, 30),
            st.integers(1, 3),
            st.integers(1, 2),
        ),
        max_size=120,
    )
)
def test_no_history_breaks_a_rule(history):
    """Whatever happens, in any order: no window of a minute takes more than 20, nobody blocked sends."""
    limits = Limits(LimitRules())
    now_s, open_slots, arrived, blocked = START_S, [], {}, {}
    for what, delay_s, bot, chat in history:
        now_s += delay_s if what != "choose" else delay_s / 30
        if what == "choose":
            choice = limits.choose(now_s, [(bot, -chat)])
            if isinstance(choice, Slot):
                open_slots.append(choice)
                assert blocked.get((bot, -chat), 0) <= now_s
                assert blocked.get(bot, 0) <= now_s
        elif what == "bot":
            limits.flood_bot(bot, now_s, delay_s)
            blocked[bot] = max(blocked.get(bot, 0), now_s + delay_s)
        elif open_slots:
            slot = open_slots.pop(0)
            pair = (slot.bot_id, slot.chat_id)
            if what == "finish":
                limits.finish(slot, now_s)
                arrived.setdefault(pair, []).append(slot.begun_at_s)
            elif what == "cancel":
                limits.cancel(slot)
            else:
                limits.flood(slot, now_s, delay_s)
                blocked[pair] = max(blocked.get(pair, 0), now_s + delay_s)
    for times in arrived.values():
        assert most_in(times, 60 - 30) <= 20
