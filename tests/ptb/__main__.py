# SPDX-License-Identifier: MIT
"""
``python -m tests.ptb [PTB's test files]``: python-telegram-bot's own tests against the emulator.

``--write-expected`` makes what came out the new expectation; reasons of known failures are kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.ptb import runner


def main(argv: list[str]) -> int:
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return 0
    chosen = [argument for argument in argv if argument != "--write-expected"]
    with tempfile.TemporaryDirectory() as directory:
        outcome = runner.run(Path(directory), *chosen)
    print(f"\npython-telegram-bot {runner.version()}: {outcome.summary()}")
    known = runner.Expected.load().failed
    for test, error in sorted(outcome.failed.items()):
        print(f"  failed: {test}: {known.get(test) or error.partition(chr(10))[0]}")
    for what, count in outcome.missing().most_common():
        print(f"  beyond: {count:4} need {what}")
    if "--write-expected" in argv:
        runner.Expected.of(outcome).save()
    return 1 if set(outcome.failed) - set(known) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
