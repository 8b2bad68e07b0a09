# SPDX-License-Identifier: MIT
"""
Whether players play through an outage of Telegram: a stall, resets, and 502 for a while.

    python -m benchmarks.playback_outage [--stall 15] [--down 20]

ffmpeg, VLC and hls.js in Chromium play one film of 30 s at the same time, with nothing of it kept here. The
pictures of ffmpeg and Chromium are those that they decode (and show, or drop because the machine is busy),
VLC's those that it hands on, which are as many without an outage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install()

from twisted.internet.defer import Deferred
from twisted.internet.task import react


async def run(stall_s, down_s):
    from benchmarks.figures import Figure, show
    from tests.integration.test_outages import CALM, FRAMES, play_through

    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reports, struck = await play_through(Path(folder), stall_s=stall_s, down_s=down_s)
    print(f"\nstalls, resets and answers of 502: {struck}; {time.monotonic() - begun_s:.0f} s in all\n")
    calm, figures = reports.pop(CALM), []
    for name, report in reports.items():
        expected, peer = (calm.frames, "without") if name == calm.player else (FRAMES, "in the film")
        figures += [
            Figure(what=f"{name}: pictures", value=report.frames or 0, peer=expected, peer_name=peer,
                   at_least=1.0, limits="ratio"),
            Figure(what=f"{name}: complaints", value=len(report.errors) + (not report.whole), at_most=0),
        ]  # fmt: skip
        print("".join(f"{name}: {words}\n" for words in report.errors), end="")
    missed = show(figures) + (not all(struck))
    raise SystemExit(1 if missed else 0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stall", type=float, default=15.0, help="seconds")
    parser.add_argument("--down", type=float, default=20.0, help="seconds")
    options = parser.parse_args()
    react(lambda _: Deferred.fromCoroutine(run(options.stall, options.down)))


if __name__ == "__main__":
    main()
