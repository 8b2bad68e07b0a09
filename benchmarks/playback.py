# SPDX-License-Identifier: MIT
"""
All playback benchmarks, one after the other, and their figures in one table.

    python -m benchmarks.playback [--quick] [--only cold start]

They take half an hour, with ``--quick`` some ten minutes; each runs as a process of its own and can be run
alone. Exits with the number of limits that were missed, a benchmark that failed counting as one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.figures import HEADER
from benchmarks.playback_rig import load_now

QUICK = {
    "policy": [],
    "warm": ["--pairs", "3", "--seconds", "0.3"],
    "cold": ["--quick"],
    "start": ["--quick"],
    "probe": ["--quick"],
    "players": ["--seconds", "120", "--viewers", "1", "4"],
    "slow": ["--pause", "10", "--seconds", "2"],
    "soak": ["--quick"],
}


def run(name, options):
    """Run one, show what it says; return the rows of its figures and whether it failed."""
    begun_s = time.monotonic()
    print(f"\n== playback_{name}, {load_now()}", flush=True)
    argv = [sys.executable, "-m", f"benchmarks.playback_{name}", *options]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    rows, is_table = [], False
    for line in process.stdout:
        print(line, end="", flush=True)
        text = line.strip()
        is_table = text == HEADER or (is_table and text.startswith("|"))
        if is_table and text != HEADER and not text.startswith("| ---"):
            rows.append(text)
    status = process.wait()
    print(f"== playback_{name}: {time.monotonic() - begun_s:.0f} s", flush=True)
    if status and not any("MISSED" in row for row in rows):
        rows.append(f"| {name} | | | | | ENDED WITH {status} |")
    return rows


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter runs")
    parser.add_argument("--only", nargs="+", choices=list(QUICK), default=list(QUICK))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        rows += run(name, QUICK[name] if arguments.quick else [])
    print(f"\n{HEADER}\n| --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    return sum("MISSED" in row or "ENDED" in row for row in rows)


if __name__ == "__main__":
    sys.exit(main())
