# SPDX-License-Identifier: MIT
"""``tgsyncd auth``: what it says of who may, and the token that it makes."""

from __future__ import annotations

import json
import stat


def test_show_says_where_the_token_comes_from_and_not_what_it_is(tgsyncd):
    """And how to use it."""
    assert tgsyncd("auth", "show") == 0
    assert "signed by `tgsyncd run`" in tgsyncd.out
    assert "admin token: none" in tgsyncd.out
    assert "tgsyncd auth token" in tgsyncd.out

    file = tgsyncd.folder / "admin"
    file.write_text("swordfish\n")
    file.chmod(0o600)
    (tgsyncd.folder / "t.yaml").write_text("auth: {playback: open, admin_token_file: admin}")
    assert tgsyncd("auth", "show", "-c", "t.yaml") == 0
    assert "every video" in tgsyncd.out
    assert str(file) in tgsyncd.out
    assert tgsyncd("auth", "show", "-c", "t.yaml", "--json") == 0
    assert json.loads(tgsyncd.out) == {"playback": "open", "admin_token": str(file)}
    assert "swordfish" not in tgsyncd.out + tgsyncd.err


def test_token_makes_a_private_file_once(tgsyncd):
    """Random, for its owner alone, not printed, not replaced unasked; what it says loads."""
    assert tgsyncd("auth", "token", "--file", "admin") == 0
    file = tgsyncd.folder / "admin"
    first = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first.strip()) >= 40
    assert first.strip() not in tgsyncd.out + tgsyncd.err
    (tgsyncd.folder / "t.yaml").write_text(tgsyncd.err.partition("daemon:\n")[2])
    assert tgsyncd("auth", "show", "-c", "t.yaml") == 0

    assert tgsyncd("auth", "token", "--file", "admin") == 4
    assert file.read_text() == first
    assert tgsyncd("auth", "token", "--file", "admin", "--replace") == 0
    assert file.read_text() != first


def test_token_stands_beside_the_configuration(tgsyncd):
    """Which is where its owner looks."""
    assert tgsyncd("auth", "token") == 0
    assert (tgsyncd.folder / ".config/tgsyncd/admin.token").is_file()
    (tgsyncd.folder / "file").touch()
    assert tgsyncd("auth", "token", "--file", "file/admin") == 2
    assert "cannot be written" in tgsyncd.err


def test_a_token_that_is_not_there_yet_is_a_hint(tgsyncd):
    """Not only a missing file."""
    (tgsyncd.folder / "t.yaml").write_text("auth: {admin_token_file: nowhere}")
    assert tgsyncd("auth", "show", "-c", "t.yaml") == 2
    assert "tgsyncd auth token --file" in tgsyncd.err


def test_rotate_wants_to_be_told_whose(tgsyncd):
    """One or all, not neither and not both."""
    assert tgsyncd("auth", "rotate") == 2
    assert tgsyncd("auth", "rotate", "--all", "--video-id", "a") == 2
