# SPDX-License-Identifier: MIT
"""PURE: sizes and durations as people write them (``256 MB``, ``6 s``), to bytes and seconds and back."""

from __future__ import annotations

import re

_SIZES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_DURATIONS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
# At most 18 digits: enough for an exabyte, and no way to make a number that takes long to handle.
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", re.ASCII)


def parse_size(value: object) -> int:
    """
    Return bytes of ``300``, ``"256 MB"`` (10^6) or ``"64 MiB"`` (2^20).

    Raises
        ValueError with a sentence for the owner.
    """
    number, unit = _split(value, "a size such as 256 MB or 64 MiB")
    factor = _SIZES.get(unit.lower())
    if factor is None:
        message = f"{value!r} has no size unit that is known; use B, kB, MB, GB, TB or KiB, MiB, GiB, TiB"
        raise ValueError(message)
    # Decimal digits are kept exact: 1.5 GB is 1,500,000,000 and not one less.
    whole, _, fraction = number.partition(".")
    return int(whole) * factor + int(int(fraction or "0") * factor / 10 ** len(fraction))


def parse_duration(value: object) -> float:
    """
    Return seconds of ``6``, ``"6 s"``, ``"5 min"``, ``"48 h"`` or ``"7 d"``.

    Raises
        ValueError with a sentence for the owner.
    """
    number, unit = _split(value, "a duration such as 6 s or 5 min")
    factor = _DURATIONS.get(unit.lower())
    if factor is None:
        message = f"{value!r} has no time unit that is known; use ms, s, min, h or d"
        raise ValueError(message)
    return float(number) * factor


def render_size(size_bytes: int) -> str:
    """Return the shortest text that ``parse_size`` reads back as the same number."""
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "kB", "KiB"):
        factor = _SIZES[unit.lower()]
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
        if size_bytes >= factor and size_bytes * 10 % factor == 0:
            return f"{size_bytes // factor}.{size_bytes * 10 // factor % 10} {unit}"
    return f"{size_bytes} B"


def render_duration(duration_s: float) -> str:
    """Return the shortest text that ``parse_duration`` reads back as the same number."""
    for unit in ("d", "h", "min"):
        factor = _DURATIONS[unit]
        if duration_s and duration_s % factor == 0:
            return f"{duration_s / factor:.0f} {unit}"
    return f"{f'{duration_s:.3f}'.rstrip('0').rstrip('.')} s"


def _split(value: object, wanted: str) -> tuple[str, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        message = f"{value!r} is not {wanted}"
        raise ValueError(message)  # noqa: TRY004 (pydantic reports ValueError, and lets TypeError through)
    text = f"{value:f}" if isinstance(value, float) else str(value)
    found = _QUANTITY.fullmatch(text.strip())
    if not found:
        message = f"{value!r} is not {wanted}"
        raise ValueError(message)
    return found.group(1), found.group(2)
