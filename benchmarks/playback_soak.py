# SPDX-License-Identifier: MIT
"""
Ten minutes of everything at once: does anything grow, and how long does the reactor stand still?

    python -m benchmarks.playback_soak [--minutes 10] [--quick]

Nine viewers: players with half a minute of buffer, ranges of the stream, probes, pauses, some who leave; a
new video each 15 s; two bots on a Telegram on which 5 % of everything fails, stalls or comes wrong. Compared
are the medians of minutes 2 to 3 and of the last minute. How late the daemon's reactor is for a timer of 5 ms
stands beside how late a process is that does nothing else, in the same minutes.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.playback_rig import load_now
from tests.integration.soak import run_soak

STALL_MS = 50.0
BARE = """
import asyncio, signal, sys, time
from collections import Counter
counts = Counter()
async def main():
    while True:
        due = time.perf_counter() + 0.005
        await asyncio.sleep(0.005)
        counts[int((time.perf_counter() - due) * 1000)] += 1
def tell(*_):
    print(dict(counts))
    sys.exit(0)
signal.signal(signal.SIGTERM, tell)
asyncio.run(main())
"""


def share(counts, part):
    """Return the milliseconds that so large a part of the ticks kept below."""
    left = part * sum(counts.values())
    for late_ms in sorted(counts):
        left -= counts[late_ms]
        if left <= 0:
            return float(late_ms + 1)
    return 0.0


def summed(samples, name):
    """Return the counts of all samples together."""
    total = Counter()
    for sample in samples:
        for late_ms, count in sample[name].items():
            total[int(late_ms)] += count
    return total


def figures_of(report, bare, minutes):
    """Return the rows of the table."""
    samples = report.samples
    early = samples[60:180] if minutes >= 4 else samples[len(samples) // 4 : len(samples) // 2]
    last = samples[-60:] if minutes >= 4 else samples[-len(samples) // 4 :]

    def grown(what, name, scale, unit, **limit):
        before, after = (statistics.median(each[name] / scale for each in part) for part in (early, last))
        return Figure(what=what, value=after, unit=unit, peer=before, peer_name="before", **limit)

    late, busy = summed(samples, "late_ms"), summed(samples, "busy_ms")
    wrong = sum(count for what, count in report.seen.items() if "WRONG" in what or "status" in what)
    return [
        grown("soak: resident memory", "rss_bytes", 1e6, "MB", at_most=1.1, limits="ratio"),
        grown("soak: descriptors", "descriptors", 1, "", at_most=8, limits="adds"),
        grown("soak: threads", "threads", 1, "", at_most=2, limits="adds"),
        grown("soak: calls planned", "calls", 1, "", at_most=10, limits="adds"),
        Figure(
            what="soak: reactor late, p99.9",
            value=share(late, 0.999),
            unit="ms",
            peer=share(bare, 0.999),
            peer_name="idle process",
            at_most=STALL_MS,
        ),
        Figure(
            what="soak: reactor at work without a pause, p99.9",
            value=share(busy, 0.999),
            unit="ms",
            at_most=STALL_MS,
        ),
        Figure(what="soak: the same, longest", value=float(max(busy) + 1), unit="ms"),
        Figure(what="soak: the latest, all in all", value=float(max(late) + 1), unit="ms",
               peer=float(max(bare) + 1), peer_name="idle process"),
        Figure(what="soak: wrong bytes or answers", value=wrong, at_most=0),
        Figure(what="soak: players stalled", value=report.seen["stalled"], at_most=None),
    ]  # fmt: skip


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="one minute")
    arguments = parser.parse_args()
    minutes = 1.0 if arguments.quick else arguments.minutes
    bare = subprocess.Popen(
        [sys.executable, "-c", BARE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        with tempfile.TemporaryDirectory(prefix="tgsyncd-soak-") as folder:
            report = run_soak(
                Path(folder), seconds=minutes * 60, viewers=9, video_every_s=15.0, film_repeats=8,
                say=lambda words: print(words, load_now(), flush=True),
            )  # fmt: skip
    finally:
        bare.terminate()
        counts = ast.literal_eval(bare.communicate(timeout=30)[0].strip() or "{0: 1}")
    print(f"viewers: {dict(report.seen)}; {report.stored} videos stored; {load_now()}")
    print(f"broken off by the daemon: {dict(report.broken_off)}")
    at_rest, after = report.at_rest, report.after
    for name in ("rss_bytes", "descriptors", "threads", "calls"):
        print(f"{name}: {at_rest[name]} before anybody came, {after[name]} after all had left")
    return show(figures_of(report, Counter(counts), minutes))


if __name__ == "__main__":
    sys.exit(main())
