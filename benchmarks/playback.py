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
    "outage": ["--stall", "3", "--down", "5"],
    "soak": ["--quick"],
}


def rows_of(lines):
    """Return the rows of our table in these lines; where there is none, those of other tables as words."""
    ours, others, columns = [], [], None
    for line in lines:
        text = line.strip()
        if not text.startswith("|"):
            columns = None
        elif columns is None:
            columns = [cell.strip() for cell in text.strip("|").split("|")]
        elif not text.startswith("| ---"):
            cells = [cell.strip() for cell in text.strip("|").split("|")]
            if columns == [cell.strip() for cell in HEADER.strip("|").split("|")]:
                ours.append(text)
            else:
                others.append(_row(columns, cells))
    return ours or others


def _row(columns, cells):
    named = dict(zip(columns, cells, strict=False))
    if "target" in named:
        verdict = {"met": "ok"}.get(cells[-1], cells[-1])
        return f"| {cells[0]} | {named['measured']} | | | {named['target']} | {verdict} |"
    words = ", ".join(f"{cell} {name}" for name, cell in zip(columns[1:], cells[1:], strict=False))
    return f"| {columns[0]}, {cells[0]} | {words} | | | | |"


def run(name, options):
    """Run one, show what it says; return the rows of its figures."""
    begun_s = time.monotonic()
    print(f"\n== playback_{name}, {load_now()}", flush=True)
    argv = [sys.executable, "-m", f"benchmarks.playback_{name}", *options]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    print(f"== playback_{name}: {time.monotonic() - begun_s:.0f} s", flush=True)
    rows = rows_of(lines)
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
