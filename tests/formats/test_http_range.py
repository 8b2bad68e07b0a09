# SPDX-License-Identifier: MIT
"""Ranges and conditions, against a naive model of RFC 9110."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tgsyncd.formats.http_range import (
    ByteRange,
    Unsatisfiable,
    if_none_match_hits,
    if_range_holds,
    parse_range,
)

thoroughly = settings(max_examples=10_000, deadline=None)

# Single tokens rather than nested strategies: ten thousand examples in seconds.
tokens = st.sampled_from(
    [
        "0",
        "1",
        "7",
        "24",
        "25",
        "007",
        "9" * 30,
        "1" * 5000,
        "-",
        "-",
        "-",
        "-",
        ",",
        ",",
        " ",
        "=",
        "x",
        "٣",
        "+",
    ]
)
headers = st.builds(
    lambda start, rest: start + "".join(rest),
    st.sampled_from(["bytes=", "bytes=", "bytes=", "Bytes = ", "items=", ""]),
    st.lists(tokens, max_size=7),
)


def naive(header, size):
    """Which positions does the header ask for? Written for clarity, with sets of positions."""
    found = re.fullmatch(r"[ \t]*bytes[ \t]*=(.*)", header, re.IGNORECASE | re.ASCII | re.DOTALL)
    parts = [part.strip(" \t") for part in found[1].split(",")] if found else []
    parts = [part for part in parts if part]
    if not parts:
        return "ignore"
    for part in parts:
        if not re.fullmatch(r"[0-9]+-[0-9]*|-[0-9]+", part, re.ASCII):
            return "ignore"
        first, last = (as_number(digits) for digits in part.split("-"))
        if first is not None and last is not None and first > last:
            return "ignore"
        if first is None:
            wanted = {at for at in range(size) if at >= size - last}
        else:
            wanted = {at for at in range(size) if at >= first and (last is None or at <= last)}
    return sorted(wanted) if len(parts) == 1 and wanted else "416"


def as_number(digits):
    """Past any size of these tests one number is as good as another, as long as their order is kept."""
    digits = digits.lstrip("0") or digits[:1]
    return int(digits) if 0 < len(digits) < 10 else len(digits) * 10**9 if digits else None


@thoroughly
@given(header=headers, size=st.integers(1, 25))
@example(header="bytes=0-" + "9" * 5000, size=10)
@example(header="bytes=-" + "9" * 16000, size=10)
def test_ranges_are_those_of_the_naive_model(header, size):
    """And nothing raises."""
    seen = parse_range(header, size)
    expected = naive(header, size)
    if expected == "ignore":
        # "1" * 5000 to "9" * 30: both are past any stream, so the parser need not tell them apart.
        assert seen is None or re.search(r"[0-9]{19,}-[0-9]{19,}", header)
    elif expected == "416":
        assert isinstance(seen, Unsatisfiable)
    else:
        assert isinstance(seen, ByteRange)
        assert list(range(seen.start, seen.stop)) == expected


@settings(max_examples=1_000, deadline=None)
@given(header=st.text(max_size=40), size=st.integers(0, 50))
def test_any_text_is_survived(header, size):
    """What comes back is always inside, and never empty."""
    seen = parse_range(header, size)
    if isinstance(seen, ByteRange):
        assert 0 <= seen.start < seen.stop <= size


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", ByteRange(start=0, stop=100)),
        ("bytes=0-0", ByteRange(start=0, stop=1)),
        ("bytes=99-", ByteRange(start=99, stop=100)),
        ("bytes=100-", Unsatisfiable()),
        ("bytes=-1", ByteRange(start=99, stop=100)),
        ("bytes=-0", Unsatisfiable()),
        ("bytes=-1000", ByteRange(start=0, stop=100)),
        ("bytes=5-4", None),
        ("bytes=0-1,2-3", Unsatisfiable()),
        ("bytes=0-1,x", None),
        ("bytes=,0-1,", ByteRange(start=0, stop=2)),
        ("bits=0-1", None),
    ],
)
def test_the_cases_of_the_rfc(header, expected):
    """One by one, of 100 bytes."""
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    ("header", "hits"),
    [
        (None, False),
        ("*", True),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x","y"', False),
        ("abc", False),
        ('"ab', False),
        ("", False),
    ],
)
def test_if_none_match(header, hits):
    """Weak comparison, lists, and the star."""
    assert if_none_match_hits(header, '"abc"') is hits


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),
        ('"abd"', False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", False),
    ],
)
def test_if_range(header, holds):
    """Strong comparison; a date never holds."""
    assert if_range_holds(header, '"abc"') is holds


@settings(max_examples=1_000, deadline=None)
@given(header=st.text(max_size=60))
def test_conditions_survive_any_text(header):
    """They only ever say yes or no."""
    assert if_none_match_hits(header, '"abc"') in {True, False}
    assert if_range_holds(header, '"abc"') in {True, False}
