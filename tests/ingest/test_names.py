# SPDX-License-Identifier: MIT
"""Names: video ids and published base names."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tgsyncd.errors import ConfigError
from tgsyncd.ingest.names import (
    PUBLISH_NAME_MAX_BYTES,
    VIDEO_ID_PATTERN,
    check_video_id,
    choose_video_id,
    publish_name,
)

file_stems = st.text(alphabet=st.characters(exclude_characters="/\0", codec=None), min_size=1, max_size=255)


@pytest.mark.parametrize(
    ("stem", "video_id"),
    [
        ("movie", "movie"),
        ("Movie", "movie"),
        ("The Film (1999)", "the-film-1999"),
        ("Amélie", "amelie"),
        ("-leading", "leading"),
        ("%03d", "03d"),
    ],
)
def test_a_name_becomes_its_slug(stem, video_id):
    assert choose_video_id(stem, "/x/" + stem, lambda _: False) == video_id


def test_a_taken_id_gets_a_hash_of_the_path():
    first = choose_video_id("film", "/a/film.mkv", lambda known: known == "film")
    second = choose_video_id("film", "/b/film.mkv", lambda known: known == "film")

    assert first.startswith("film-")
    assert first != second


def test_a_name_without_latin_letters_gets_a_hash():
    assert choose_video_id("七人の侍", "/x/七人の侍.mkv", lambda _: False).startswith("video-")


@example("\ud800", set())
@example("film\udcff", set())
@given(file_stems, st.sets(st.text(alphabet="abcdef0123456789-", max_size=4)))
def test_a_chosen_id_is_valid_and_free_and_stable(stem, taken):
    path = "/folder/" + stem

    chosen = choose_video_id(stem, path, lambda known: known in taken)

    assert VIDEO_ID_PATTERN.fullmatch(chosen)
    assert chosen not in taken
    assert chosen == choose_video_id(stem, path, lambda known: known in taken)


@example("\ud800")
@example("film\udcff")
@given(file_stems)
def test_a_published_name_is_one_that_every_file_system_and_playlist_takes(stem):
    name = publish_name(stem)

    assert name
    assert len(name.encode()) <= PUBLISH_NAME_MAX_BYTES
    assert not name.startswith(".")
    assert name.isprintable() or any(ord(char) > 127 for char in name)
    assert not set(name) & set("/\\\n\r\t\0")


def test_a_plain_name_is_published_as_it_is():
    assert publish_name("Der Film (1999) [Größe] 1") == "Der Film (1999) [Größe] 1"


def test_long_names_that_differ_at_the_end_stay_different():
    assert publish_name("x" * 250 + "a") != publish_name("x" * 250 + "b")


@pytest.mark.parametrize("text", ["", "Movie", "../x", "a" * 101, "a/b", "-a", "a b"])
def test_what_is_no_video_id_is_refused(text):
    with pytest.raises(ConfigError, match="is not a video id"):
        check_video_id(text)
