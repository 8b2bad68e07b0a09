# SPDX-License-Identifier: MIT
"""
Look for a known part of the emulator's bot tokens in every byte that was written.

``python -m tests.canary DIR...`` prints each hit and exits 1 when there is one. The emulator puts ``CANARY``
into every token that it makes, so a run of the tests leaves it wherever a token was written: plain,
percent-encoded, base64, hexadecimal or UTF-16, in a file's contents or in its name.

Two things may hold it: the emulator's own state, and a file that its owner alone may read and that holds one
token and nothing else, which is where an owner keeps it.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CANARY: Final = "tgsyncdCanary"

READ_BYTES = 1 << 24

_ONLY_A_TOKEN = re.compile(rb"\d{5,12}:[A-Za-z0-9_-]{30,}\s*")
_EMULATOR_STATE = "state.sqlite"


@dataclass(frozen=True, slots=True)
class Hit:
    """Where it was found, and in which form."""

    path: Path
    form: str
    around: str

    def __str__(self) -> str:
        return f"{self.path}: {self.form}: {self.around}"


def forms(secret: str) -> dict[str, bytes]:
    """Return the ways in which it may stand in a file."""
    raw = secret.encode()
    found = {
        "plain": raw,
        "percent-encoded": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "percent-encoded in lower case": "".join(f"%{byte:02x}" for byte in raw).encode(),
        "hexadecimal": raw.hex().encode(),
        "hexadecimal in upper case": raw.hex().upper().encode(),
        "UTF-16": secret.encode("utf-16-le"),
    }
    for shift in range(3):
        # Inside something longer, base64 looks different for each position modulo 3; the characters at
        # the ends depend on the neighbours.
        encoded = base64.b64encode(b"\0" * shift + raw)
        found[f"base64 at {shift}"] = encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
    return found


def search(roots: Iterable[Path], secret: str = CANARY) -> Iterator[Hit]:
    """Yield where it stands below the folders."""
    wanted = forms(secret)
    for path in _files(roots):
        name = path.name.encode("utf-8", "surrogateescape")
        yield from (Hit(path, f"{form}, in the name", "") for form, text in wanted.items() if text in name)
        if path.is_file() and not path.is_symlink() and not _is_secret_file(path):
            yield from _search_file(path, wanted)


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            if _EMULATOR_STATE in names:
                folders.clear()
                continue
            yield from (Path(folder, name) for name in (*folders, *names))


def _is_secret_file(path: Path) -> bool:
    facts = path.stat()
    if facts.st_mode & 0o077 or facts.st_size > 200:
        return False
    return _ONLY_A_TOKEN.fullmatch(path.read_bytes()) is not None


def _search_file(path: Path, wanted: dict[str, bytes]) -> Iterator[Hit]:
    overlap = max(map(len, wanted.values())) - 1
    left = dict(wanted)
    with path.open("rb") as file:
        window = b""
        while left and (read := file.read(READ_BYTES)):
            window += read
            for form in [form for form, text in left.items() if text in window]:
                at = window.index(left.pop(form))
                # What stands before it, and not the rest of the token.
                around = window[max(0, at - 60) : at].decode("utf-8", "backslashreplace")
                yield Hit(path, form, around)
            window = window[-overlap:]


def main(arguments: list[str]) -> int:
    """Search; return the exit code."""
    hits = list(search(Path(argument) for argument in arguments))
    for hit in hits:
        print(hit)
    print(f"{len(hits)} hits of the canary in {len(arguments)} folders")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
