# SPDX-License-Identifier: MIT
"""
Time that passes only when it is told to, or when nothing is left to do: a three-hour wait takes a moment.

Everything that waits shares one clock: the code under test, the emulator, the test. By hand::

    clock = SimulatedClock()
    clock.advance(3 * 3600)

or by itself, over a real reactor whose sockets and threads go on in real time::

    clock = SimulatedClock()
    clock.auto_advance(reactor)      # jumps to the next call whenever nothing is in flight
    ...
    clock.stop_auto_advance()

"In flight" is whatever holds the clock (``hold()``: the emulator holds it while it works on a request,
and not while the request waits for simulated time), jobs in the reactor's thread pool, and what the
test's own probes tell (a thread of another pool, a child process). Bytes on loopback need no hold:
what was sent is there at the next turn of the reactor, each arrival is a ``touch()``, and the clock
lets several turns pass before it moves.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# 2026-11-22 08:00:00 UTC. Any fixed instant: a test must not depend on today's date.
EPOCH_S = 1_795_334_400.0

# Real seconds between two looks, and how many quiet looks it takes before time moves. One look alone could
# fall between a client's send and the server's read, which are two turns of the same reactor.
LOOK_EVERY_S = 0.001
QUIET_LOOKS = 3


class RealClock:
    """The machine's time, with the same two faces: ``now_s`` (wall clock) and IReactorTime."""

    def __init__(self, reactor: Any) -> None:
        import time

        self._reactor = reactor
        self._now_s = time.time
        self._skipped_s = 0.0

    def now_s(self) -> float:
        return self._now_s() + self._skipped_s

    def seconds(self) -> float:
        return self._reactor.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> Any:  # noqa: A002
        return self._reactor.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Any:
        return self._reactor.getDelayedCalls()

    def skip(self, seconds: float) -> None:
        """Let the wall clock jump ahead (48 hours, say); what waits goes on waiting."""
        self._skipped_s += seconds


class SimulatedClock(Clock):
    """IReactorTime (from Twisted's ``task.Clock``) and ``tgsyncd.ports.Clock`` in one."""

    def __init__(self, *, start_s: float = EPOCH_S) -> None:
        super().__init__()
        self._start_s = start_s
        self._holds = 0
        self._probes: list[Callable[[], bool]] = []
        self._quiet = 0
        self._look: Any = None
        self._reactor: Any = None
        self.jumps = 0
        """How often the clock moved by itself."""
        self.touches = 0
        """Rises with everything that goes on: a probe that waits for quiet can tell."""

    def now_s(self) -> float:
        """Return seconds since the epoch; ``seconds()`` starts at 0."""
        return self._start_s + self.seconds()

    def skip(self, seconds: float) -> None:
        """Jump ahead in one step, as ``advance`` does."""
        self.advance(seconds)

    # -- what keeps time from passing -------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep time from passing by itself inside the block: work is in flight."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def acquire(self) -> None:
        """Begin a hold that ends with ``release()``."""
        self._holds += 1
        self.touch()

    def release(self) -> None:
        self._holds -= 1
        self.touch()
        assert self._holds >= 0, "released more often than held"

    def touch(self) -> None:
        """Note progress that needs no hold (bytes that came or went): time waits a little longer."""
        self._quiet = 0
        self.touches += 1

    def add_probe(self, is_busy: Callable[[], bool]) -> None:
        """Ask this before time moves by itself; True means that work is in flight."""
        self._probes.append(is_busy)

    def is_busy(self) -> bool:
        return self._holds > 0 or any(probe() for probe in self._probes)

    # -- moving by itself --------------------------------------------------------------------------

    def auto_advance(self, reactor: Any) -> None:
        """Move to the next delayed call whenever nothing is in flight, until told to stop."""
        assert self._look is None, "already advancing by itself"
        self._reactor = reactor
        self.add_probe(lambda: _thread_pool_is_busy(reactor))
        self._look = reactor.callLater(LOOK_EVERY_S, self._look_around)

    def stop_auto_advance(self) -> None:
        if self._look is not None and self._look.active():
            self._look.cancel()
        self._look = None
        self._probes.clear()

    def _look_around(self) -> None:
        self._look = self._reactor.callLater(LOOK_EVERY_S, self._look_around)
        if self.is_busy():
            self._quiet = 0
            return
        self._quiet += 1
        if self._quiet >= QUIET_LOOKS:
            self._jump()

    def _jump(self) -> None:
        calls = self.getDelayedCalls()
        if not calls:
            return
        self._quiet = 0
        self.jumps += 1
        self.advance(max(0.0, min(call.getTime() for call in calls) - self.seconds()))


def _thread_pool_is_busy(reactor: Any) -> bool:
    pool = reactor.getThreadPool()
    if not getattr(pool, "started", False):
        return False
    statistics = pool._team.statistics()
    return bool(statistics.busyWorkerCount or statistics.backloggedWorkCount)
