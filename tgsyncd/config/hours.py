# SPDX-License-Identifier: MIT
"""PURE: spans of hours such as ``18:00-23:30``, in local time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["check_span", "is_within"]

_SPAN = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", re.ASCII)


def check_span(text: str) -> str:
    """Return the span as it is. Raises ValueError with a sentence for the owner."""
    found = _SPAN.fullmatch(text)
    if found is None or int(found[1]) > 24 or int(found[3]) > 24:
        message = f"{text!r} is not a span of hours such as 18:00-23:30"
        raise ValueError(message)
    return text


def is_within(span: str, now: dt.datetime) -> bool:
    """Tell whether the local time lies in the span, whose end is outside; it may cross midnight."""
    clock = f"{now:%H:%M}"
    start, _, stop = span.partition("-")
    return start <= clock < stop if start <= stop else clock >= start or clock < stop
