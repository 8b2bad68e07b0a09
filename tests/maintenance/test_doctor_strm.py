# SPDX-License-Identifier: MIT
"""The address in a ``.strm``: found, asked for as Jellyfin does, and judged."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor

from tgsyncd.errors import TgsyncdError
from tgsyncd.maintenance.doctor import Level
from tgsyncd.maintenance.doctor_strm import check_strm, find_strm

URL = "http://192.0.2.9:8080/p/abc/playlist/film.m3u8"


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "library" / "Film (1999)"
    folder.mkdir(parents=True)
    (folder / "A.nfo").write_text("<movie/>")
    (folder / "Empty.strm").write_text("# only a comment\n\n")
    (folder / "Film.strm").write_text(f"# 7\n\n{URL}\n")
    return tmp_path / "library"


def answering(status, body):
    asked = []

    async def fetch(url):
        asked.append(url)
        return status, body

    fetch.asked = asked
    return fetch


async def check(library, fetch, urls=("http://192.0.2.9:8080",)):
    return await check_strm([library], urls, reactor=reactor, fetch=fetch)


@pytest.mark.parametrize(
    ("status", "body", "level", "words"),
    [
        (200, b"#EXTM3U\n", Level.OK, "answers with a playlist"),
        (200, b"<html>", Level.PROBLEM, "answers 200, with no playlist"),
        (403, b"{}", Level.PROBLEM, "revoked"),
        (404, b"{}", Level.PROBLEM, "not known"),
        (502, b"", Level.PROBLEM, "answers 502"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_url_in_a_strm_is_asked_for(library, status, body, level, words):
    """What Jellyfin reads of it: the first line that is no comment."""
    fetch = answering(status, body)
    (finding,) = await check(library, fetch)
    assert fetch.asked == [URL]
    assert finding.level is level
    assert words in finding.message
    assert finding.subject.endswith("Film.strm")
    assert bool(finding.remedy) is (level is not Level.OK)
    assert "/p/abc" not in finding.message + finding.remedy  # the capability opens the video


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_not_ours_is_not_asked(library):
    """The machine's address changed, and no daemon has written the .strm anew yet."""
    fetch = answering(200, b"#EXTM3U\n")
    (finding,) = await check(library, fetch, urls=["http://192.0.2.10:8080", "http://192.0.2.9:80"])
    assert finding.level is Level.PROBLEM
    assert "http://192.0.2.9:8080, is none of server.public_urls" in finding.message
    assert not fetch.asked


@pytest_twisted.ensureDeferred
async def test_without_a_server_it_is_a_warning(library):
    """Its address was compared; more cannot be said."""

    async def nobody(url):
        raise TgsyncdError("connection refused")

    (finding,) = await check(library, nobody)
    assert finding.level is Level.WARNING


@pytest_twisted.ensureDeferred
async def test_nothing_published_is_no_finding(tmp_path):
    """Nor is a folder that is not there."""
    assert await check(tmp_path / "none", answering(200, b"")) == []
    assert find_strm([tmp_path]) is None
