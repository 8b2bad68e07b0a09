# SPDX-License-Identifier: MIT
"""Time moves when told to, or when nothing is in flight, and never otherwise."""

from __future__ import annotations

import time

import pytest_twisted
from twisted.internet import task
from twisted.internet.threads import deferToThread

from tests.fakes.simulated_clock import SimulatedClock


def test_it_stands_still_until_told():
    """Both faces of the clock move together."""
    clock = SimulatedClock(start_s=1000.0)
    fired = []
    clock.callLater(60, fired.append, "x")
    assert (clock.now_s(), clock.seconds()) == (1000.0, 0.0)
    clock.advance(59)
    assert fired == []
    clock.advance(1)
    assert (fired, clock.now_s()) == (["x"], 1060.0)


@pytest_twisted.ensureDeferred
async def test_three_hours_take_a_moment():
    """By itself it jumps from one delayed call to the next."""
    from twisted.internet import reactor

    clock = SimulatedClock()
    clock.auto_advance(reactor)
    try:
        began = time.monotonic()
        await task.deferLater(clock, 3 * 3600, lambda: None)
        await task.deferLater(clock, 60, lambda: None)
        assert clock.seconds() == 3 * 3600 + 60
        assert clock.jumps == 2
        assert time.monotonic() - began < 60
    finally:
        clock.stop_auto_advance()


@pytest_twisted.ensureDeferred
async def test_it_waits_for_what_is_in_flight():
    """A hold and a job in the thread pool keep time from passing, though something waits for it."""
    from twisted.internet import reactor

    clock = SimulatedClock()
    clock.auto_advance(reactor)
    try:
        waiting = task.deferLater(clock, 5, lambda: None)
        with clock.hold():
            await task.deferLater(reactor, 0.05, lambda: None)
            assert clock.seconds() == 0
            job = deferToThread(time.sleep, 0.1)
        await job
        assert clock.seconds() == 0
        await waiting
        assert clock.seconds() == 5
    finally:
        clock.stop_auto_advance()
