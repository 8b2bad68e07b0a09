# SPDX-License-Identifier: MIT
"""What an .nfo says."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.formats.jellyfin import is_nfo, render_nfo
from tgsyncd.formats.jellyfin_names import SourceName, parse_source_name

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def nfo(source: str, kind: str = "mixed") -> str:
    return render_nfo(parse_source_name(PurePosixPath(source), kind)).decode()


def test_a_film():
    """Title, year, ids; the first id is the one that counts."""
    assert nfo("The Matrix (1999) [tmdbid-603] [imdbid-tt0133093].mkv") == HEAD + (
        "<movie>\n  <title>The Matrix</title>\n  <year>1999</year>\n"
        '  <uniqueid type="imdb" default="true">tt0133093</uniqueid>\n'
        '  <uniqueid type="tmdb">603</uniqueid>\n</movie>\n'
    )


def test_an_episode():
    """The show's ids are not the episode's, and are left out."""
    assert nfo("Show (2010) [tvdbid-1]/Season 2/Show - S02E03 - The Name.mkv") == HEAD + (
        "<episodedetails>\n  <title>The Name</title>\n  <showtitle>Show</showtitle>\n"
        "  <season>2</season>\n  <episode>3</episode>\n</episodedetails>\n"
    )


def test_an_episode_whose_title_nobody_named():
    """Jellyfin asks its providers for what an .nfo leaves out, and only for that."""
    assert "<title>" not in nfo("Show.S02E03.mkv")


def test_two_episodes_in_one_file():
    """One block each, one behind the other, as Kodi writes them and Jellyfin reads them."""
    text = nfo("Show.S01E02E03.mkv")
    assert text.count("<episodedetails>") == 2
    assert "<episode>2</episode>" in text
    assert "<episode>3</episode>" in text


def test_a_daily_show():
    """By the day on which it was sent."""
    text = nfo("The.Daily.Show.2024.01.15.Guest.mkv")
    assert "<aired>2024-01-15</aired>" in text
    assert "<season>" not in text


def test_names_that_xml_would_trip_over():
    """Ampersands, angles and what no XML may hold."""
    text = render_nfo(SourceName(kind="film", title="A & B <C> \x07\ud800\ufffe", year=2000)).decode()
    assert ET.fromstring(text).findtext("title") == "A & B <C> "


@given(st.builds(SourceName, kind=st.just("film"), title=st.text(), year=st.none() | st.integers(1, 9999)))
def test_any_title_is_valid_xml(name):
    """And comes back, as far as XML can hold it."""
    root = ET.fromstring(render_nfo(name).decode())
    assert root.tag == "movie"
    assert is_nfo(render_nfo(name))


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"<movie><title>X</title></movie>", True),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\r\n<!-- created by Kodi -->\n<movie>', True),
        (b"<episodedetails>", True),
        (b"  <movie lang='en'>", True),
        (b"\xdb\xdc\xdf  R E L E A S E  \xdb\xdc", False),
        (b"https://www.imdb.com/title/tt0133093/", False),
        (b"<html>", False),
        (b"<moviexyz>", False),
        (b"", False),
    ],
)
def test_an_nfo_of_kodi_is_told_from_that_of_a_release(data, is_one):
    """The latter is a picture made of letters."""
    assert is_nfo(data) == is_one
