# SPDX-License-Identifier: MIT
"""Uploads below a limit: the bucket, who waits, and that both stores obey."""

from __future__ import annotations

import datetime as dt
import errno
import os

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater

from tests.contracts.store import make_document, read
from tests.stores.telegram.support import a_world, real_time, until
from tgsyncd.config.upload import UploadSection, limit_at
from tgsyncd.stores.bucket import BURST_S, TokenBucket
from tgsyncd.stores.directory import DirectoryStore
from tgsyncd.stores.throttle import NO_LIMIT, Throttle


@given(
    rate=st.floats(1.0, 1e7),
    steps=st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 1 << 20)), min_size=1, max_size=30),
)
def test_never_more_than_the_limit_since_any_moment(rate, steps):
    """Whatever is asked for when; in order, and never later than the limit makes it."""
    bucket, now_s, sent = TokenBucket(rate, 100.0), 100.0, []
    for wait_s, size in steps:
        now_s += wait_s
        due_s = bucket.take(size, now_s)
        assert due_s >= now_s
        sent.append((due_s, size))
    assert sent == sorted(sent, key=lambda each: each[0])
    for first in range(len(sent)):
        total = 0
        for due_s, size in sent[first:]:
            total += size
            # The first one's own bytes are paid for before it is due.
            assert total - sent[first][1] <= (due_s - sent[first][0] + BURST_S) * rate * (1 + 1e-9) + 1e-3


def test_a_clock_that_goes_back_makes_nobody_wait_longer():
    """The wall clock was set."""
    bucket = TokenBucket(100.0, 1000.0)
    bucket.take(50, 1000.0)
    assert bucket.take(100, 10.0) == 11.0


class TestThrottle:
    """Waiting, by a simulated clock."""

    def setup_method(self):
        self.clock, self.limit = Clock(), 1000.0
        self.throttle = Throttle(self.clock, lambda: self.limit)

    def passing(self, size: int) -> Deferred:
        return Deferred.fromCoroutine(self.throttle.pass_bytes(size))

    def test_in_order_at_the_pace_of_the_limit(self):
        """Two that send side by side advance alike."""
        waiting = [self.passing(1000) for _ in range(4)]
        seen = []
        for _ in range(9):
            seen.append(sum(each.called for each in waiting))
            self.clock.advance(0.5)
        assert seen == [0, 1, 1, 2, 2, 3, 3, 4, 4]

    def test_a_limit_that_is_lifted_lets_everybody_go(self):
        """Within a second; a new limit begins anew."""
        waiting = [self.passing(100_000) for _ in range(3)]
        self.clock.advance(5)
        assert not any(each.called for each in waiting)
        self.limit = None
        self.clock.advance(1)
        assert all(each.called for each in waiting)
        assert self.passing(1 << 30).called
        assert not self.clock.getDelayedCalls()

    def test_fewer_side_by_side_when_slow(self):
        """And the time that a document takes at the longest grows with the limit's slowness."""
        seen = []
        for self.limit in (16_000, 250_000, 10_000_000, None):
            seen.append((self.throttle.at_once, self.throttle.takes_s(1_000_000)))
        assert seen == [(1, 62.5), (2, 8.0), (100, 10.0), (NO_LIMIT, 0.0)]

    def test_who_stops_waiting_leaves_no_timer(self):
        """An upload that is cancelled."""
        waiting = self.passing(10_000)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        assert not self.clock.getDelayedCalls()


class Counting(Throttle):
    """No limit; a count, and a gate. One upload at a time."""

    at_once = 1

    def __init__(self):
        super().__init__(reactor, lambda: None)
        self.passed: list[int] = []
        self.look = lambda: None
        self.gate = succeed(None)

    async def pass_bytes(self, size_bytes):
        self.look()
        self.passed.append(size_bytes)
        while not self.gate.called:
            await deferLater(reactor, 0.001)


@pytest_twisted.ensureDeferred
async def test_a_directory_on_another_file_system_is_copied_to_within_the_limit(tmp_path, monkeypatch):
    """Every byte asks; what is only linked does not."""
    throttle = Counting()
    store = DirectoryStore(tmp_path / "store", reactor, throttle=throttle, reserve_bytes=0)
    path, label, data = make_document(tmp_path, 600_000)
    await store.put(path, label)
    assert throttle.passed == []

    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    ref = await store.put(path, label)
    assert sum(throttle.passed) >= len(data)
    assert max(throttle.passed) <= 256 << 10
    assert await read(store, ref) == data


@pytest_twisted.ensureDeferred
async def test_uploads_to_telegram_wait_for_the_throttle_and_hold_few_slots(tmp_path):
    """Nothing arrives before it is let pass; when slow, one after the other; reads ask nobody."""
    async with a_world(tmp_path, bots=2, simulated=False) as world:
        throttle = Counting()
        store = world.store(throttle=throttle)
        most = []
        throttle.look = lambda: most.append(sum(store._uploads._in_flight.values()))
        documents = [make_document(tmp_path, 300_000, number=number, seed=number) for number in range(4)]
        throttle.gate = Deferred()
        putting = [Deferred.fromCoroutine(store.put(path, label)) for path, label, _ in documents]
        await until(world, lambda: throttle.passed)
        for _ in range(20):
            await real_time(world, 0.005)
        assert (len(throttle.passed), world.documents()) == (1, [])

        throttle.gate.callback(None)
        refs = [await each for each in putting]
        assert set(most) == {1}
        assert sum(throttle.passed) >= 1_200_000
        assert max(throttle.passed) <= 65_536
        count = len(throttle.passed)
        for ref, (_, _, data) in zip(refs, documents, strict=True):
            assert await read(store, ref) == data
        assert len(throttle.passed) == count


@pytest.mark.parametrize(
    ("time", "limit"), [("12:00", 500_000), ("18:00", 100_000), ("23:30", 500_000), ("02:00", None)]
)
def test_limits_by_hours(time, limit):
    """The first that fits; 0 is none; else the one for all hours."""
    section = UploadSection.model_validate(
        {"bytes_per_s": "500 kB", "hours": ["18:00-23:30 100 kB", "01:00-06:00 0", "01:00-06:00 50 kB"]}
    )
    now = dt.datetime.fromisoformat(f"2026-11-22T{time}:00+00:00")
    assert limit_at(section, now) == limit
    assert limit_at(UploadSection(), now) is None


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ("18:00-23:30", "is not hours and a limit"),
        ("6 pm 1 MB", "span of hours"),
        ("01:00-02:00 1 B", "at least 16 kB"),
    ],
)
def test_what_is_no_limit_is_refused(hours, message):
    with pytest.raises(ValidationError, match=message):
        UploadSection.model_validate({"hours": [hours]})
