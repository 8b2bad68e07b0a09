# SPDX-License-Identifier: MIT
"""
Whether players play through an outage of Telegram: a stall, resets, and 502 for a while.

    python -m benchmarks.playback_outage [--stall 15] [--down 20]

ffmpeg, VLC and hls.js in Chromium play one film of 30 s at the same time, with nothing of it kept here.
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
    from tests.integration.test_outages import FRAMES, check, play_through

    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reports, struck = await play_through(Path(folder), stall_s=stall_s, down_s=down_s)
    print(f"\nstalls, resets and answers of 502: {struck}; {time.monotonic() - begun_s:.0f} s in all\n")
    print("| player | played to the end | pictures | complaints |\n| --- | --- | --- | --- |")
    for name, report in reports.items():
        is_whole = "yes" if report.whole or report.reached_end else "no"
        pictures = "" if report.frames is None else f"{report.frames} of {FRAMES}"
        print(f"| {name} | {is_whole} | {pictures} | {'; '.join(report.errors) or 'none'} |")
    check(reports, struck)


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
