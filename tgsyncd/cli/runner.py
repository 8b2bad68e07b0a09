# SPDX-License-Identifier: MIT
"""
Run one Deferred-coloured coroutine under the installed reactor, to its end or to a signal.

The first SIGINT or SIGTERM cancels the coroutine, whose ``finally`` blocks close the store and the catalog;
the second one ends the process at once, which is safe too: what was acknowledged is on the disk.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from twisted.python.failure import Failure

    from tgsyncd.cli.shell import Main, Shell

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """What a shell reports for a program that the signal killed: 130 and 143."""


@contextmanager
def interruptible(on_signal: Callable[[], object] = lambda: None) -> Iterator[None]:
    """
    Let a signal end a wait outside the reactor, after a call of ``on_signal``.

    The reactor's handlers only note the signal for it, and Python then goes on waiting.

    Raises
        Interrupted.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        on_signal()
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class _Run:
    """How one run of the reactor ended."""

    exit_code: int = 0
    error: BaseException | None = None
    signal_number: int | None = None
    work: Deferred[int] | None = field(default=None)


def run_under_reactor(main: Main, shell: Shell) -> int:
    """
    Run ``main(reactor)`` and return its exit code. Starts and stops the reactor: once per process.

    Raises
        Interrupted after a signal, and whatever ``main`` raises.
    """
    from twisted.internet import reactor

    run = _Run()
    reactor.callWhenRunning(_start, reactor, run, main, shell)
    reactor.run()
    if run.signal_number is not None:
        raise Interrupted(run.signal_number)
    if run.error is not None:
        raise run.error
    return run.exit_code


def _start(reactor: Any, run: _Run, main: Main, shell: Shell) -> None:
    """Take over the signals, which the reactor set for itself when it started, and begin the work."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        run.signal_number = number
        reactor.callFromThread(_interrupt, run, shell)

    for number in _SIGNALS:
        signal.signal(number, on_signal)
    run.work = Deferred.fromCoroutine(main(reactor))
    run.work.addCallbacks(lambda code: _finish(run, code), lambda failure: _fail(run, failure))
    run.work.addBoth(lambda _: reactor.stop())


def _interrupt(run: _Run, shell: Shell) -> None:
    shell.note("stopping; once more to stop at once")
    if run.work is not None:
        run.work.cancel()


def _finish(run: _Run, code: int) -> None:
    run.exit_code = code


def _fail(run: _Run, failure: Failure) -> None:
    if run.signal_number is not None and isinstance(failure.value, CancelledError):
        return
    run.error = failure.value
    if run.signal_number is not None:
        # It failed while it was stopping: that is worth more than the word that it was stopped.
        run.signal_number = None
