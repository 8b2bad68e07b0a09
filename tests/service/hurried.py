# SPDX-License-Identifier: MIT
"""
``python -m tgsyncd`` that pauses for a second where it would for a quarter of a minute.

A test sets its wall clock: SIGUSR1 moves it by the seconds in $CLOCK_FILE. With $NAMESPACES_OF, the id of a
process, it lives in the user and mount namespaces of that one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

import time_machine

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000


def move(_number: int, _frame: object) -> None:
    shift_s = float(Path(os.environ["CLOCK_FILE"]).read_text())
    time_machine.travel(time.time() + shift_s, tick=True).start()


def enter_namespaces(pid: str) -> None:
    """os.setns is there since Python 3.12."""
    for name, kind in (("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS)):
        there, here = Path(f"/proc/{pid}/ns/{name}"), Path(f"/proc/self/ns/{name}")
        if there.readlink() != here.readlink():
            fd = os.open(there, os.O_RDONLY)
            assert ctypes.CDLL(None).setns(fd, kind) == 0, f"cannot enter {there}"
            os.close(fd)


def main() -> None:
    holder = os.environ.pop("NAMESPACES_OF", "")
    if holder:
        enter_namespaces(holder)
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    asyncioreactor.install = lambda: None
    from tgsyncd import __main__, schedule
    from tgsyncd.ingest import retry
    from tgsyncd.service import ingesting

    schedule.CLOCK_CHECK_S = 0.5
    ingesting.PAUSE_S = (1.0,)
    retry.FIRST_S = 1.0
    signal.signal(signal.SIGUSR1, move)
    __main__.main()


if __name__ == "__main__":
    main()
