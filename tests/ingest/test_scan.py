# SPDX-License-Identifier: MIT
"""Which files are meant by what is named on a command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tgsyncd.errors import SourceUnreadable
from tgsyncd.ingest.scan import find_videos, identify


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(folder: Path, found: list[Path]) -> list[str]:
    return [str(path.relative_to(folder)) for path in found]


def test_a_folder_means_its_videos_by_suffix_and_name(tmp_path):
    """Hidden files, other files and links to folders are passed over; the order is by name."""
    make(tmp_path, "b.mkv", "a.MP4", "note.txt", ".hidden.mkv", ".trash/c.mkv", "Season 1/1.avi", "film.strm")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.mkv").symlink_to(tmp_path / "b.mkv")
    assert names(tmp_path, find_videos([tmp_path])) == ["Season 1/1.avi", "a.MP4", "b.mkv", "link.mkv"]


def test_a_file_is_taken_whatever_its_name_and_once(tmp_path, monkeypatch):
    """Also one that is not there: that is for the ingest to say."""
    make(tmp_path, "film.xyz")
    monkeypatch.chdir(tmp_path)
    found = find_videos([Path("film.xyz"), Path("./film.xyz"), Path("gone.mkv")])
    assert names(tmp_path, found) == ["film.xyz", "gone.mkv"]


def test_a_folder_that_was_named_and_cannot_be_listed_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    """It stands for itself, and the ingest says what is wrong with it."""
    folder = tmp_path / "private"
    folder.mkdir()

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_videos([folder]) == [folder]


def test_a_folder_below_that_cannot_be_listed_hides_only_itself(tmp_path, monkeypatch):
    """The others are found."""
    make(tmp_path, "a.mkv", "b/b.mkv")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path, find_videos([tmp_path])) == ["a.mkv"]


def test_a_folder_is_not_a_source_file(tmp_path):
    with pytest.raises(SourceUnreadable, match="not a regular file"):
        identify(tmp_path)


def test_a_source_file_behind_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mkv")
    with pytest.raises(SourceUnreadable, match="not a regular file"):
        identify(tmp_path / "pipe.mkv")
