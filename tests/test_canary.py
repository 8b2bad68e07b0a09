# SPDX-License-Identifier: MIT
"""The search for the canary finds what it should, and nothing that is where it belongs."""

from __future__ import annotations

import base64
import shutil
import sqlite3
import subprocess
import sys
from urllib.parse import quote

import pytest

from tests.canary import CANARY, READ_BYTES, search

TOKEN = f"700000001:AA{CANARY}0123456789abcdefghij"


@pytest.fixture
def planted(tmp_path):
    """A folder that is gone when the session's own search comes."""
    folder = tmp_path / "planted"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "form",
    [
        str.encode,
        lambda token: quote(f"https://api.telegram.org/bot{token}/getMe", safe="").encode(),
        lambda token: "".join(f"%{byte:02x}" for byte in token.encode()).encode(),
        lambda token: base64.b64encode(token.encode()),
        lambda token: base64.urlsafe_b64encode(b"x" + token.encode() + b"yz"),
        lambda token: base64.b64encode(b"xy" + token.encode()),
        lambda token: token.encode().hex().encode(),
        lambda token: token.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, READ_BYTES - 20])
def test_a_token_is_found_in_every_form(planted, form, before):
    """Anywhere in a file, also where one read ends and the next begins."""
    (planted / "folder").mkdir()
    (planted / "folder" / "file").write_bytes(b"\0" * before + form(TOKEN) + b"\0")
    assert [hit.path.name for hit in search([planted])] == ["file"]


def test_a_token_is_found_in_names_and_databases(planted):
    """Of files and folders; in rows, and in what deleted rows leave."""
    (planted / TOKEN).mkdir()
    (planted / TOKEN / "inside").touch()
    connection = sqlite3.connect(planted / "catalog.sqlite3")
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("INSERT INTO notes VALUES (?)", (TOKEN,))
    connection.commit()
    connection.close()
    assert sorted(hit.path.name for hit in search([planted])) == [TOKEN, "catalog.sqlite3"]


def test_the_owners_secret_file_may_hold_it(planted):
    """But not when others may read it, nor beside anything else."""
    for name, mode, text in [
        ("token", 0o600, f"{TOKEN}\n"),
        ("shared", 0o644, f"{TOKEN}\n"),
        ("config", 0o600, f"token: {TOKEN}\n"),
    ]:
        (planted / name).write_text(text)
        (planted / name).chmod(mode)
    assert sorted(hit.path.name for hit in search([planted])) == ["config", "shared"]


def test_the_emulators_own_state_is_passed_over(planted):
    """A local server's folders are named after tokens."""
    (planted / "telegram" / TOKEN).mkdir(parents=True)
    (planted / "telegram" / "state.sqlite").write_text(TOKEN)
    assert list(search([planted])) == []


def test_the_command_exits_with_1_when_there_is_a_hit_and_prints_no_secret(planted):
    """What stands before it is shown."""
    argv = [sys.executable, "-m", "tests.canary", str(planted)]
    assert subprocess.run(argv, check=False, capture_output=True).returncode == 0
    (planted / "log").write_text(f"GET /bot{TOKEN}/getMe")
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "GET /bot700000001:AA" in done.stdout
    assert CANARY not in done.stdout
