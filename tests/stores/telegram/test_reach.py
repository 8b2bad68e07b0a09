# SPDX-License-Identifier: MIT
"""Since when Telegram does not answer: noticed by what is asked anyway, and asked until it does."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.task import Clock

from tests.fakes.simulated_clock import EPOCH_S
from tests.stores.telegram.support import a_world
from tgsyncd.service.reaching import SHOWN_AFTER_S, Reaching
from tgsyncd.stores.telegram.reach import Reach, choose_outage


def reach(*, answered=None, since=None, reason="") -> Reach:
    return Reach(answered_at_s=answered, since_s=since, reason=reason)


def test_the_first_silence_counts_and_any_answer_ends_it():
    """A refusal is an answer too: who notes it decides that."""
    one = Reach()
    one.note_silence(10.0, "ConnectError")
    one.note_silence(20.0, "ReadTimeout")
    assert (one.since_s, one.reason) == (10.0, "ReadTimeout")
    one.note_answer(30.0)
    assert choose_outage([one]) is None


def test_one_bot_among_others_is_no_outage():
    """Unless the others were not answered since either."""
    silent = reach(since=100.0, reason="x")
    assert choose_outage([silent, reach(answered=100.0)]) is None
    assert choose_outage([silent, reach(answered=99.0)]) is silent
    assert choose_outage([silent, reach(since=90.0, reason="y")]).reason == "y"
    assert choose_outage([silent, Reach()]) is silent
    assert choose_outage([]) is None


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_down_is_noticed_and_one_that_is_back_too(tmp_path):
    """By a call, and by the probe; the time is the wall clock's."""
    async with a_world(tmp_path, simulated=False) as world:
        store = world.store()
        assert store.outage() is None
        await store.probe()  # nothing to ask
        bot = store._fleet.bot(store._fleet.bot_ids[0])
        await bot.me()
        await world.emulator.go_down()
        before_s = world.clock.now_s()
        for _ in range(2):
            try:
                await bot.me()
            except Exception as error:
                reason = str(error)
        since_s, why = store.outage()
        assert before_s - 1 <= since_s <= world.clock.now_s()
        assert why == reason
        assert "redacted" not in why
        assert world.bots[0].token not in why
        await store.probe()
        assert store.outage()[0] == since_s or abs(store.outage()[0] - since_s) < 0.5
        await world.emulator.come_back()
        await store.probe()
        assert store.outage() is None


class Store:
    """A store that can be down, as far as ``Reaching`` looks."""

    def __init__(self):
        self.down = None
        self.probes = 0

    def outage(self):
        return self.down

    async def probe(self):
        self.probes += 1


def test_it_is_told_once_and_not_for_a_hiccup():
    """Asked again as long as it is silent; one line when it has lasted, one when it is over."""
    from twisted.logger import globalLogPublisher

    lines = []

    def observe(event):
        if event.get("log_namespace") == "tgsyncd.service.reaching":
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    clock, store = Clock(), Store()
    reaching = Reaching(store, reactor=clock, now_s=lambda: EPOCH_S + clock.seconds())
    reaching.start()
    try:
        clock.pump([20.0] * 3)
        assert store.probes == 0
        store.down = (EPOCH_S + clock.seconds(), "ConnectError")
        clock.advance(20.0)
        assert (store.probes, reaching.outage) == (1, None)
        clock.pump([20.0] * 30)
        assert store.probes == 31
        assert "Telegram does not answer since 20" in reaching.outage.words
        assert clock.seconds() - (reaching.outage.since_s - EPOCH_S) > SHOWN_AFTER_S
        store.down = None
        clock.advance(20.0)
        assert reaching.outage is None
    finally:
        reaching.stop()
        globalLogPublisher.removeObserver(observe)
    assert not clock.getDelayedCalls()
    assert len(lines) == 2
    assert lines[0].endswith(": ConnectError")
    assert lines[1] == "Telegram answers again, after 11 min"


def test_a_directory_is_never_down():
    """No timer runs for it."""
    clock = Clock()
    reaching = Reaching(object(), reactor=clock, now_s=clock.seconds)
    reaching.start()
    assert reaching.outage is None
    assert not clock.getDelayedCalls()
    reaching.stop()
