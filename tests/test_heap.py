# SPDX-License-Identifier: MIT
"""What a process gives back of what it freed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from tgsyncd.heap import give_back_what_is_freed

if sys.argv[1] == "arranged":
    assert give_back_what_is_freed()

def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

bytearray(30_000_000)  # glibc learns from it
before = resident_bytes()
segments, chunks = [], []
for _ in range(10):
    segments.append(bytearray(6_000_000))
    chunks.append(bytearray(100_000))  # lies behind it
segments.clear()
print(resident_bytes() - before)
"""


def left_bytes(how):
    argv = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)


def test_a_freed_segment_is_given_back_whatever_lies_behind_it():
    """Ten small buffers would keep ten segments."""
    assert left_bytes("arranged") < 6_000_000
    assert left_bytes("as it is") > 50_000_000
