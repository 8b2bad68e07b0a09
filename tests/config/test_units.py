# SPDX-License-Identifier: MIT
"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.config.units import parse_duration, parse_size, render_duration, render_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (300, 300),
        ("300", 300),
        ("256 MB", 256_000_000),
        ("64MiB", 64 << 20),
        ("1.5 GB", 1_500_000_000),
        ("19.9 mb", 19_900_000),
        ("2 TiB", 2 << 40),
        (1e6, 1_000_000),
    ],
)
def test_size(text, size):
    """A size has decimal or binary units, in any case, with or without a blank."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(6, 6), ("6 s", 6), ("250 ms", 0.25), ("5 min", 300), ("48 h", 172_800), ("7d", 604_800)],
)
def test_duration(text, seconds):
    """A duration has a unit, or is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "MB", "-1 MB", "1 parsec", "1 2", True, None, [1], "1e3", "٣ MB", "9" * 40]
)
def test_nonsense_is_a_value_error(text):
    """What is no quantity is refused with a ValueError, which pydantic reports."""
    with pytest.raises(ValueError):
        parse_size(text)
    with pytest.raises(ValueError):
        parse_duration(text)


@settings(max_examples=2000)
@given(st.integers(0, 10**15))
def test_sizes_survive_rendering(size):
    """What is rendered reads back as the same number of bytes."""
    assert parse_size(render_size(size)) == size


@given(st.integers(0, 10**7))
def test_durations_survive_rendering(seconds):
    """What is rendered reads back as the same number of seconds."""
    assert parse_duration(render_duration(float(seconds))) == seconds
