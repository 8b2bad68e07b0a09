# SPDX-License-Identifier: MIT
"""Numbers and tables as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.cli.text import printable, render_bytes, render_length, render_table, render_time


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_951, "100 kB"),
     (999_499, "999 kB"), (999_500, "1.0 MB"), (1_234_567_890, "1.2 GB"), (5 * 10**15, "5000.0 TB")],
)  # fmt: skip
def test_bytes(size, text):
    """Three digits at most, decimal units."""
    assert render_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (187, "3:07"), (3600, "1:00:00"), (5025.4, "1:23:45")]
)
def test_length(seconds, text):
    """Minutes and seconds, hours where there are any."""
    assert render_length(seconds) == text


def test_time():
    """UTC, to the second."""
    assert render_time(1_700_000_000.9) == "2023-11-14T22:13:20Z"


@given(st.text())
def test_printable_is_one_line_without_codes(text):
    """Whatever a file is called, it cannot move the cursor or end the line."""
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_table_columns_are_aligned():
    """The last column is not padded: it may be long."""
    assert render_table(("A", "B"), [("long", "x"), ("s", "yyy")]) == ["A     B", "long  x", "s     yyy"]
