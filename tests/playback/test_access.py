# SPDX-License-Identifier: MIT
"""Capabilities, hosts and tokens."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tgsyncd.formats.hls import CAPABILITY_PATTERN
from tgsyncd.playback.access import (
    bearer_matches,
    capability_for,
    capability_opens,
    choose_base_url,
    host_is_allowed,
    parse_host,
)
from tgsyncd.playback.settings import AuthMode, ServerSettings

SECRET = b"secret" * 6


@given(video_id=st.text(max_size=20), generation=st.integers(0, 1000), secret=st.binary(max_size=40))
def test_a_capability_fits_the_grammar_of_urls(video_id, generation, secret):
    """Whatever it is made of."""
    assert re.fullmatch(CAPABILITY_PATTERN, capability_for(secret, video_id, generation))


def test_a_capability_opens_one_video_of_one_generation():
    """Another video, another generation, another secret: another capability."""
    made = {
        capability_for(secret, video_id, generation)
        for secret in (SECRET, SECRET + b"x")
        for video_id in ("movie", "movie1", "mov")
        for generation in (0, 1, 10)
    }
    assert len(made) == 18
    mine = capability_for(SECRET, "movie", 1)
    opens = {"secret": SECRET, "video_id": "movie", "generation": 1}
    assert capability_opens(mine, **opens)
    assert not capability_opens(mine, **{**opens, "generation": 2})
    assert not capability_opens(mine[:-1] + "\xe9", **opens)
    assert not capability_opens(None, **opens)


def test_a_capability_never_changes_its_form():
    """A .strm on a disk somewhere holds it: this value is for ever."""
    assert capability_for(b"k" * 32, "movie", 1) == "gGbvt3gfU_8OD14R_lh2rbNVyhcotR-C"


def test_signing_needs_a_secret():
    """An empty one would let everybody sign."""
    with pytest.raises(ValueError, match="secret"):
        ServerSettings(auth=AuthMode.SIGNED)


def test_secrets_are_not_in_the_repr():
    """It ends up in logs."""
    settings = ServerSettings(admin_token="hush-token", capability_secret=b"hush-secret-hush")
    assert "hush" not in repr(settings)


@example(header=".")
@given(header=st.text(max_size=30))
def test_any_host_header_is_survived(header):
    """It is a name and a port, or nothing."""
    seen = parse_host(header)
    assert seen is None or seen[0]
    assert host_is_allowed(header, {"nas"}) in {True, False}
    assert choose_base_url(header, ["http://a"], is_secure=False) == "http://a"


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("nas", True),
        ("NAS.:80", True),
        ("127.0.0.1:1", True),
        ("[fe80::1]", True),
        ("10.1.2.3", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("0x7f.1", False),
        ("nas@evil.example", False),
        ("", False),
    ],
)
def test_hosts(header, allowed):
    """Names that are ours, and literal addresses, which nobody can rebind."""
    assert host_is_allowed(header, frozenset({"nas"})) is allowed


def test_a_star_allows_all_names():
    """For those who know what they do."""
    assert host_is_allowed("whatever.example", {"*"})


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ("Bearer t", True),
        ("bearer  t", True),
        ("Bearer", False),
        ("Basic t", False),
        ("Bearer tt", False),
        ("Bearer \xe9", False),
        (None, False),
        ("", False),
    ],
)
def test_bearer_tokens(header, matches):
    """Scheme and token."""
    assert bearer_matches(header, "t") is matches


def test_the_base_url_without_public_urls_is_the_host_asked_for():
    """A server tried by hand works without configuration."""
    assert choose_base_url("10.0.0.1:8080", (), is_secure=False) == "http://10.0.0.1:8080"
    assert choose_base_url("nas", (), is_secure=True) == "https://nas"
