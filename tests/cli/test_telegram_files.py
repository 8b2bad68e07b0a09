# SPDX-License-Identifier: MIT
"""Files are there as a whole or not at all."""

from __future__ import annotations

import os

import pytest

from tgsyncd.cli.telegram_files import PRIVATE, PUBLIC, read_text, write_whole
from tgsyncd.errors import ConfigError


def mode_of(path):
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o022, 0o077, 0o000])
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_modes_do_not_depend_on_the_umask(tmp_path):
    """A token is its owner's alone."""
    write_whole(tmp_path / "new/token", "x", mode=PRIVATE)
    write_whole(tmp_path / "new/config", "x", mode=PUBLIC)
    assert mode_of(tmp_path / "new/token") == 0o600
    assert mode_of(tmp_path / "new/config") == 0o644


def test_a_file_that_is_replaced_keeps_its_mode_unless_it_holds_a_secret(tmp_path):
    """Its owner chose it."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    write_whole(path, "new", mode=PUBLIC)
    assert (path.read_text(), mode_of(path)) == ("new", 0o640)
    write_whole(path, "token", mode=PRIVATE)
    assert mode_of(path) == 0o600


def test_a_link_stays_a_link(tmp_path):
    """Configurations are often linked to a repository."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", "new", mode=PUBLIC)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    """Neither a draft nor half a file."""
    with pytest.raises(ConfigError, match="no UTF-8"):
        write_whole(tmp_path / "file", "\udc80", mode=PUBLIC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "folder", "x", mode=PUBLIC)
    (tmp_path / "text").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "text/file", "x", mode=PUBLIC)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "text"]


def test_reading(tmp_path):
    """None when there is nothing; an error when it cannot be read."""
    assert read_text(tmp_path / "none") is None
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="no UTF-8"):
        read_text(tmp_path / "bad")
    with pytest.raises(ConfigError):
        read_text(tmp_path)
