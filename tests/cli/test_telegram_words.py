# SPDX-License-Identifier: MIT
"""Which chat is meant, and which server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.cli.telegram_words import parse_chat, server_urls
from tgsyncd.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "-1001234567890",
        " -1001234567890\n",
        "\u22121001234567890",
        "https://t.me/c/1234567890/1",
        "t.me/c/1234567890/1",
        "https://t.me/c/1234567890",
        "https://t.me/c/1234567890/7/1?single",
        "https://telegram.me/c/1234567890/99",
        "https://web.telegram.org/a/#-1001234567890",
        "https://web.telegram.org/k/#-1234567890",
    ],
)
def test_all_that_names_a_channel(text):
    """The number, and what the apps copy."""
    assert parse_chat(text) == -1001234567890


@given(st.integers(1, 9_999_999_999))
def test_a_link_and_its_number_are_the_same_chat(number):
    """Whatever its length."""
    assert parse_chat(f"https://t.me/c/{number}/1") == -1_000_000_000_000 - number


def test_basic_groups_are_read_and_left_to_the_check():
    """It says why they will not do."""
    assert parse_chat("-5") == -5


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1234567890", "-1001234567890"),
        ("@mychannel", "private"),
        ("https://t.me/mychannel/5", "private"),
        ("https://t.me/+AbCdEfGh", "private"),
        ("my channel", "Copy Link"),
        ("", "Copy Link"),
        ("-", "Copy Link"),
        ("\u0661\u0662", "Copy Link"),
    ],
)
def test_anything_else_is_refused_with_advice(text, word):
    """How to find the number."""
    with pytest.raises(ConfigError) as caught:
        parse_chat(text)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["http://x:1", "http://x:1/", "http://x:1/bot", "http://x:1/bot/", "http://x:1/file/bot", " http://x:1 "],
)
def test_a_server_may_be_named_with_or_without_its_paths(text):
    """The two addresses follow from one."""
    assert server_urls(text) == ("http://x:1/bot", "http://x:1/file/bot")
