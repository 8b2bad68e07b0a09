# SPDX-License-Identifier: MIT
"""Whether we are what is slow: how long the reactor's thread had work."""

from __future__ import annotations

import time
from pathlib import Path

_SCHEDSTAT = Path("/proc/self/schedstat")


def busy_s() -> float:
    """
    Return for how many seconds the process's first thread ran, or waited for a processor to run on.

    From /proc/self/schedstat (Linux, Documentation/scheduler/sched-stats: nanoseconds run, nanoseconds
    waited); where there is none, what this thread ran.
    """
    try:
        ran_ns, waited_ns, _ = _SCHEDSTAT.read_bytes().split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(ran_ns) + int(waited_ns)) / 1e9
