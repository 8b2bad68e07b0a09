# SPDX-License-Identifier: MIT
"""Which files beside a video belong to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.formats.jellyfin_sidecars import (
    ENDING_MAX_BYTES,
    match_sidecars,
    merge_sidecars,
    published_endings,
)


def endings(stem, *siblings, **options):
    return {sidecar.name: sidecar.ending for sidecar in match_sidecars(stem, siblings, **options)}


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("Film.nfo", ".nfo"),
        ("Film.srt", ".srt"),
        ("Film.en.srt", ".en.srt"),
        ("Film.eng.srt", ".en.srt"),
        ("Film.English.srt", ".en.srt"),
        ("Film.ger.forced.srt", ".de.forced.srt"),
        ("Film.forced.de.srt", ".de.forced.srt"),
        ("Film.pt-BR.srt", ".pt-BR.srt"),
        ("Film.pt_br.srt", ".pt-BR.srt"),
        ("Film.en.hi.srt", ".en.sdh.srt"),
        ("Film.en.cc.srt", ".en.sdh.srt"),
        ("Film.en.sdh.ass", ".en.sdh.ass"),
        ("Film.en.default.ssa", ".en.default.ssa"),
        ("Film.Commentary by the director.en.srt", ".en.srt"),
        ("Film.SRT", ".srt"),
        ("Film.jpg", "-poster.jpg"),
        ("Film-poster.png", "-poster.png"),
        ("Film-cover.jpg", "-poster.jpg"),
        ("Film-fanart.jpg", "-fanart.jpg"),
        ("Film-backdrop.jpg", "-fanart.jpg"),
        ("Film-thumb.jpg", "-thumb.jpg"),
        ("Film-landscape.webp", "-landscape.webp"),
        ("Film-logo.png", "-logo.png"),
        ("Film-clearlogo.png", "-logo.png"),
        ("Film-banner.jpeg", "-banner.jpeg"),
        ("Film-clearart.png", "-clearart.png"),
        ("Film-discart.png", "-disc.png"),
        ("FILM.nfo", None),
        ("Film2.srt", None),
        ("Film 2.jpg", None),
        ("Film-something.jpg", None),
        ("Film.vtt", None),
        ("Film.idx", None),
        ("Film.txt", None),
        ("Film", None),
        ("Other.en.srt", None),
        ("poster.jpg", None),
        ("movie.nfo", None),
        ("Film-trailer.mp4", None),
    ],
)
def test_what_is_named_for_a_video_belongs_to_it(name, ending):
    """One file at a time, in a folder of several videos."""
    assert endings("Film", name).get(name) == ending


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("poster.jpg", "-poster.jpg"),
        ("folder.jpg", "-poster.jpg"),
        ("cover.png", "-poster.png"),
        ("fanart.jpg", "-fanart.jpg"),
        ("backdrop.jpg", "-fanart.jpg"),
        ("landscape.jpg", "-landscape.jpg"),
        ("logo.png", "-logo.png"),
        ("movie.nfo", ".nfo"),
        ("tvshow.nfo", None),
        ("english.srt", None),
    ],
)
def test_a_film_alone_in_its_folder_owns_what_names_no_film(name, ending):
    """poster.jpg and movie.nfo; not what belongs to a series."""
    assert endings("Film", name, is_alone=True).get(name) == ending


def test_a_seasons_poster_is_no_episodes():
    """Even when there is one episode only."""
    assert endings("Show S01E01", "poster.jpg", "fanart.jpg", is_alone=True) == {}


def test_the_best_named_of_several_wins():
    """One poster is enough, whatever its format; the film's own before the folder's."""
    found = endings("Film", "folder.jpg", "poster.png", "Film.jpg", "Film-poster.webp", is_alone=True)
    assert found == {"Film-poster.webp": "-poster.webp"}
    assert endings("Film", "folder.jpg", "poster.png", is_alone=True) == {"poster.png": "-poster.png"}
    assert endings("Film", "movie.nfo", "Film.nfo", is_alone=True) == {"Film.nfo": ".nfo"}


def test_subtitles_of_one_language_all_stay():
    """With a number behind the language, where Jellyfin takes it for a title."""
    found = endings("Film", "Film.en.srt", "Film.eng.srt", "Film.English.srt")
    assert found == {"Film.en.srt": ".en.srt", "Film.eng.srt": ".en.2.srt", "Film.English.srt": ".en.3.srt"}


def test_a_picture_beside_replaces_the_still():
    """Subtitles inside and beside both stay."""
    made = {"-poster.jpg": b"still", ".en.srt": b"inside", ".chapters.json": b"{}"}
    beside = {"-poster.png": b"artwork", ".en.srt": b"beside", ".en.forced.srt": b"f"}
    assert merge_sidecars(made, beside) == {
        ".chapters.json": b"{}",
        "-poster.png": b"artwork",
        ".en.srt": b"inside",
        ".en.2.srt": b"beside",
        ".en.forced.srt": b"f",
    }


def test_a_film_is_published_with_all_its_pictures():
    """And without the chapters, which Jellyfin reads from containers only."""
    stored = ["-poster.jpg", "-fanart.jpg", ".nfo", ".en.srt", ".srt", ".chapters.json"]
    assert published_endings(stored, is_episode=False) == {each: each for each in stored[:-1]}


def test_an_episode_is_published_with_one_picture_called_thumb():
    """Its own, when the source has one, else the still."""
    assert published_endings(["-poster.jpg", ".nfo"], is_episode=True) == {
        "-poster.jpg": "-thumb.jpg",
        ".nfo": ".nfo",
    }
    assert published_endings(["-poster.jpg", "-thumb.png", "-fanart.jpg"], is_episode=True) == {
        "-thumb.png": "-thumb.png"
    }


names = st.text(alphabet="Filmx.-_ ensrtjpgfo|poster\N{SNOWMAN}", max_size=30)


@given(st.text(alphabet="Film.-", min_size=1, max_size=6), st.lists(names, unique=True), st.booleans())
def test_any_folder_gives_distinct_short_endings(stem, siblings, is_alone):
    """Each file once, each ending once, none longer than a published name has room for."""
    found = match_sidecars(stem, siblings, is_alone=is_alone)
    assert len({each.name for each in found}) == len({each.ending for each in found}) == len(found)
    assert all(len(each.ending.encode()) <= ENDING_MAX_BYTES for each in found)
    assert all("/" not in each.ending for each in found)
