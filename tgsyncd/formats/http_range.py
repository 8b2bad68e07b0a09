# SPDX-License-Identifier: MIT
"""
Conditional and range requests (RFC 9110, sections 13 and 14), for one strong ETag and one range. Pure.

Nothing here raises: header text comes from strangers, and RFC 9110 says what to do with nonsense: ignore it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes ``[start, stop)`` of a representation; never empty."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsatisfiable:
    """Answer 416: nothing of it exists, or more than one range is asked for, which we do not serve."""


_UNIT = re.compile(r"bytes[ \t]*=(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)", re.ASCII)
_HUGE = 1 << 63
"""No stream is so long. Python refuses to convert more than 4,300 digits, and a header holds 16,000."""

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def parse_range(header: str | None, size_bytes: int) -> ByteRange | Unsatisfiable | None:
    """
    Parse a Range header for a representation of this size.

    Returns
        The bytes to send as a 206; Unsatisfiable for a 416; None when the header is to be ignored: absent,
        another unit, malformed.
    """
    if header is None:
        return None
    unit = _UNIT.fullmatch(header.strip(" \t"))
    if unit is None:
        return None
    specs = [spec for spec in (part.strip(" \t") for part in unit[1].split(",")) if spec]
    matches = [_SPEC.fullmatch(spec) for spec in specs]
    if not matches or not all(map(_is_valid, matches)):
        return None
    only = matches[0]
    if len(matches) > 1 or only is None:
        return Unsatisfiable()
    return _resolve(only, size_bytes)


def _is_valid(match: re.Match[str] | None) -> bool:
    if match is None:
        return False
    return not match[2] or _number(match[1]) <= _number(match[2])


def _resolve(match: re.Match[str], size_bytes: int) -> ByteRange | Unsatisfiable:
    if match[3] is not None:
        start, stop = max(0, size_bytes - _number(match[3])), size_bytes
    else:
        start = _number(match[1])
        stop = min(_number(match[2]) + 1, size_bytes) if match[2] else size_bytes
    return ByteRange(start=start, stop=stop) if start < stop else Unsatisfiable()


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return _HUGE if len(digits) > 18 else int(digits)


def if_range_holds(header: str | None, etag: str) -> bool:
    """
    Tell whether a Range may be honoured under this If-Range (strong comparison, RFC 9110, 13.1.5).

    A date never holds: we send no Last-Modified. ``etag`` includes its quotes.
    """
    return header is None or header.strip(" \t") == etag


def if_none_match_hits(header: str | None, etag: str) -> bool:
    """Tell whether the client has it already: a 304 (weak comparison, RFC 9110, 13.1.2)."""
    if header is None:
        return False
    if header.strip(" \t") == "*":
        return True
    opaque = etag.strip('"')
    return any(match[1] == opaque for match in _ETAG.finditer(header))
