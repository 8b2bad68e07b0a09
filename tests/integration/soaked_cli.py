# SPDX-License-Identifier: MIT
"""
``python -m tests.integration.soaked_cli``: tgsyncd that hardly waits for limits, and looks at itself.

Each second it appends a line of JSON to the file that TGSYNCD_TEST_SAMPLES names: resident bytes,
descriptors, threads, calls that the reactor has planned, objects that the garbage collector passes over; and
how late the reactor was for a timer of 5 ms, as counts by milliseconds, by the clock on the wall and by the
reactor thread's own work.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from twisted.internet import asyncioreactor

TICK_S = 0.005
SAMPLE_S = 1.0


class Sampler:
    """Looks at this process from the reactor's thread."""

    def __init__(self, reactor, path: Path) -> None:
        self._reactor = reactor
        self._file = path.open("a")
        self._late_ms: Counter[int] = Counter()
        self._busy_ms: Counter[int] = Counter()
        self._due_s = self._sample_due_s = self._busy_s = 0.0

    def start(self) -> None:
        self._due_s = self._sample_due_s = time.perf_counter()
        self._busy_s = time.thread_time()
        self._tick()

    def _tick(self) -> None:
        now_s, busy_s = time.perf_counter(), time.thread_time()
        self._late_ms[int((now_s - self._due_s) * 1000)] += 1
        self._busy_ms[int((busy_s - self._busy_s) * 1000)] += 1
        if now_s >= self._sample_due_s:
            self._sample_due_s = now_s + SAMPLE_S
            self._sample()
        self._busy_s = time.thread_time()
        self._due_s = time.perf_counter() + TICK_S
        self._reactor.callLater(TICK_S, self._tick)

    def _sample(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sample = {
            "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
            "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
            "threads": threading.active_count(),
            "calls": len(self._reactor.getDelayedCalls()),
            "objects_passed_over": gc.get_freeze_count(),
            "late_ms": dict(self._late_ms),
            "busy_ms": dict(self._busy_ms),
        }
        self._late_ms.clear()
        self._busy_ms.clear()
        self._file.write(json.dumps(sample) + "\n")
        self._file.flush()


if __name__ == "__main__":
    asyncioreactor.install()  # as tgsyncd/__main__.py does, before anything imports a reactor
    from twisted.internet import reactor

    from tests.integration.telegram import hurried
    from tgsyncd.cli.app import run_command_line
    from tgsyncd.cli.shell import process_shell

    samples = os.environ.pop("TGSYNCD_TEST_SAMPLES", "")
    if samples:
        reactor.callWhenRunning(Sampler(reactor, Path(samples)).start)
    with hurried():
        sys.exit(run_command_line(sys.argv[1:], process_shell()))
