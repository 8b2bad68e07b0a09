# SPDX-License-Identifier: MIT
"""Captions: what they say can be read again, and foreign ones are told apart."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.model import DocumentLabel, VideoId
from tgsyncd.stores.telegram.caption import (
    CAPTION_MAX_CHARACTERS,
    SHA256_PREFIX_DIGITS,
    document_filename,
    parse_caption,
    render_caption,
)

_text = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40
)  # lone surrogates are no text
_slug = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,99}", fullmatch=True)
_number = st.integers(0, 10**12)
_filename = st.just("") | _text


def labels(filename=_filename):
    return st.builds(
        DocumentLabel,
        library_id=st.text(string.hexdigits.lower()[:16], min_size=16, max_size=16),
        video_id=_slug.map(VideoId),
        revision=_number,
        rendition=st.from_regex(r"[a-z]{1,8}(-[0-9]{1,3})?", fullmatch=True),
        number=_number,
        size_bytes=_number,
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        filename=filename,
    )


LABEL = DocumentLabel(
    library_id="0123456789abcdef",
    video_id=VideoId("the-film-2024"),
    revision=1,
    rendition="main",
    number=12,
    size_bytes=19_900_000,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)


def test_a_caption_is_readable_by_people():
    """The format is a promise: captions of years ago must stay readable."""
    assert render_caption(LABEL) == (
        "tgsyncd 1\nlibrary 0123456789abcdef\nvideo the-film-2024\nrevision 1\nrendition main\n"
        "document 12\nsize 19900000\nsha256 9f86d081884c7d659a2feaa0c55ad015"
    )


@given(labels())
def test_what_a_caption_says_is_the_label(label):
    """Round trip, for any label."""
    text = render_caption(label)
    caption = parse_caption(text)
    assert len(text) <= CAPTION_MAX_CHARACTERS
    assert caption is not None
    assert caption.describes(label)
    assert (caption.library_id, caption.video_id) == (label.library_id, label.video_id)
    assert (caption.revision, caption.rendition) == (label.revision, label.rendition)
    assert (caption.number, caption.size_bytes) == (label.number, label.size_bytes)
    assert caption.sha256_prefix == label.sha256[:SHA256_PREFIX_DIGITS]
    assert caption.filename == label.filename


@given(labels(filename=st.text(st.characters(exclude_categories=["Cs"]), min_size=100, max_size=255)))
def test_a_filename_that_is_too_long_keeps_its_ending(label):
    """The rest of the caption stays whole, and it still describes its document."""
    text = render_caption(label)
    caption = parse_caption(text)
    assert len(text) <= CAPTION_MAX_CHARACTERS
    assert caption is not None
    assert label.filename.endswith(caption.filename)
    assert caption.describes(label)


@given(labels(), labels())
def test_a_caption_describes_no_other_label(one, other):
    """Adopting a message for the wrong document would be loss."""
    caption = parse_caption(render_caption(one))
    assert caption is not None
    assert caption.describes(other) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"library_id": "ffffffffffffffff"},
        {"video_id": VideoId("the-film-2025")},
        {"revision": 2},
        {"rendition": "audio-1"},
        {"number": 13},
        {"size_bytes": 19_900_001},
        {"sha256": "0" * 64},
    ],
)
def test_each_field_tells_documents_apart(change):
    """None of them is decoration."""
    caption = parse_caption(render_caption(LABEL))
    assert caption is not None
    assert not caption.describes(replace(LABEL, **change))


@given(_text)
def test_foreign_captions_are_none_of_ours(text):
    """Whatever people write in the chat."""
    assert parse_caption(text) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "tgsyncd 1",
        "deleted by tgsyncd",
        render_caption(LABEL).replace("document 12", "document twelve"),
        render_caption(LABEL).replace("document 12", f"document {10**30}"),
        render_caption(LABEL).replace("sha256 9f", "sha256 9F"),
        "x" + render_caption(LABEL),
    ],
)
def test_nearly_ours_is_not_ours(text):
    """A caption is ours wholly or not at all."""
    assert parse_caption(text) is None


def test_lines_of_later_versions_are_passed_over():
    """A newer tgsyncd may say more; we read what we know."""
    text = render_caption(LABEL).replace("tgsyncd 1", "tgsyncd 2") + "\nmac 1234\n"
    caption = parse_caption(text)
    assert caption is not None
    assert caption.format_version == 2
    assert caption.describes(LABEL)


@given(labels())
def test_file_names_are_plain(label):
    """Telegram cleans names; there is nothing to clean in ours."""
    name = document_filename(label)
    assert len(name) <= 140
    assert set(name) <= set(string.ascii_letters + string.digits + "._-")
    assert name.endswith(".bin")
