# SPDX-License-Identifier: MIT
"""PURE: numbers as people read them, and text tables."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def render_bytes(size_bytes: float) -> str:
    """Return ``1.2 GB``: three digits at most, decimal units, as disks and Telegram count."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def render_length(duration_s: float) -> str:
    """Return ``1:23:45`` or ``3:07``."""
    seconds = round(duration_s)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def render_time(at_s: float) -> str:
    """Return UTC as ISO 8601, to the second."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """Return the text in one line: a file name may hold a newline, or codes that move the cursor."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def printable_lines(text: str) -> str:
    """Return the text with its lines, and without codes in them."""
    return "\n".join(printable(line) for line in text.split("\n"))


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns; the last column is not padded."""
    lines = [head, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(head) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    ]
