# SPDX-License-Identifier: MIT
"""Crontab's five fields, as crontab(5) means them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.formats.cron import parse_cron


def fields(text: str) -> list[tuple[str, ...]]:
    names = ("minute", "hour", "day", "month", "day_of_week")
    return [tuple(each[name] for name in names) for each in parse_cron(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", [("*", "*", "*", "*", "*")]),
        ("15 3 * * *", [("15", "3", "*", "*", "*")]),
        ("*/20 0-2 * * *", [("0,20,40", "0,1,2", "*", "*", "*")]),
        ("5/20 1,3 * JAN-mar *", [("5,25,45", "1,3", "*", "1,2,3", "*")]),
        ("30 4 * * 0", [("30", "4", "*", "*", "sun")]),
        ("30 4 * * 7", [("30", "4", "*", "*", "sun")]),
        ("30 4 * * 5-7", [("30", "4", "*", "*", "sun,fri,sat")]),
        ("30 4 * * mon-fri", [("30", "4", "*", "*", "mon,tue,wed,thu,fri")]),
        ("0 0 1 * 1", [("0", "0", "1", "*", "*"), ("0", "0", "*", "*", "mon")]),
        ("0 0 */2 * 1", [("0", "0", ",".join(str(day) for day in range(1, 32, 2)), "*", "mon")]),
        ("0 0 29 2 *", [("0", "0", "29", "2", "*")]),
        ("0 0 31 feb sun", [("0", "0", "*", "2", "sun")]),
    ],
)
def test_what_crontab_means(text, expected):
    """Sunday is 0 and 7; of day and weekday either is enough when neither is a star."""
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("* * * *", "five fields"),
        ("60 * * * *", "'60' is no minute: 0 to 59"),
        ("* 24 * * *", "'24' is no hour: 0 to 23"),
        ("* * 0 * *", "'0' is no day of the month: 1 to 31"),
        ("* * * 13 *", "'13' is no month: 1 to 12 or jan to dec"),
        ("* * * * 8", "'8' is no weekday: 0 to 7 or sun to sat"),
        ("* * * * sat-sun", "'sat-sun' is no weekday"),
        ("*/0 * * * *", "is no minute"),
        ("5-1 * * * *", "is no minute"),
        ("1,, * * * *", "is no minute"),
        ("@daily", "five fields"),
        ("0 0 30 2 *", "a day that no year has"),
        ("0 0 31 4,6,9,11 *", "a day that no year has"),
    ],
)
def test_what_means_nothing_is_named(text, names):
    """With the field and what may stand in it."""
    with pytest.raises(ValueError, match=names):
        parse_cron(text)


@given(st.text(alphabet="0123456789*/,- abcdefgjlmnoprstuvy", max_size=20))
def test_no_text_makes_it_fail(text):
    """It is times, or a sentence."""
    with contextlib.suppress(ValueError):
        assert 1 <= len(parse_cron(text)) <= 2
