# SPDX-License-Identifier: MIT
"""Revoking URLs: with a daemon, without one, and when it is killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error

import pytest

from tests.service.running import ROOT, wait_for


def tgsyncd(daemon, *arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tgsyncd", *arguments, "-c", str(daemon.config)],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(daemon.folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def path_of(daemon, strm: str) -> str:
    """What a .strm asks of the server."""
    return (daemon.library / strm).read_text().strip().removeprefix("http://192.0.2.9:8080")


def refuses(daemon, path: str) -> bool:
    try:
        daemon.get(path)
    except urllib.error.HTTPError as error:
        return error.code == 403
    return False


@pytest.fixture
def daemon(new_daemon, films):
    daemon = new_daemon()
    for name, film in (("A.mkv", films[0]), ("B.mkv", films[1])):
        shutil.copy(film, daemon.source / name)
    daemon.start().ready()
    daemon.wait_for_strms("A.strm", "B.strm")
    return daemon


def test_a_running_daemon_revokes_one_video_or_all(daemon):
    """The old URL and its segments are refused, the new one plays, the other video is left alone."""
    old = {name: path_of(daemon, f"{name}.strm") for name in "AB"}
    segment = next(line for line in daemon.get(old["A"]).decode().splitlines() if line.startswith("http"))

    done = tgsyncd(daemon, "auth", "rotate", "--video-id", "a")
    assert done.returncode == 0, done.stderr
    assert "1 videos; 1 .strm" in done.stdout
    assert refuses(daemon, old["A"])
    assert refuses(daemon, segment.removeprefix("http://192.0.2.9:8080"))
    assert path_of(daemon, "A.strm") != old["A"]
    assert path_of(daemon, "B.strm") == old["B"]
    assert daemon.plays("A.strm") != daemon.plays("B.strm")
    assert not [path for path in daemon.library.iterdir() if path.name.endswith(".part")]

    done = tgsyncd(daemon, "auth", "rotate", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert refuses(daemon, old["B"])
    daemon.plays("A.strm")
    daemon.plays("B.strm")

    assert tgsyncd(daemon, "auth", "rotate", "--video-id", "nobody").returncode == 3
    # What is published when, and by whom, is as the catalog says: nothing is written twice.
    assert daemon.run_job("published")["last_result"].startswith("2 .strm files, 0 with a new address")


def test_without_a_daemon_the_verb_does_it_itself(daemon):
    """And the next daemon agrees with it."""
    old = path_of(daemon, "A.strm")
    daemon.stop()
    done = tgsyncd(daemon, "auth", "rotate", "--all")
    assert done.returncode == 0, done.stderr
    assert "2 videos; 2 .strm" in done.stdout
    assert path_of(daemon, "A.strm") != old
    daemon.start().ready()
    assert refuses(daemon, old)
    daemon.plays("A.strm")
    daemon.plays("B.strm")


def test_a_kill_in_the_middle_is_completed_by_the_next_start(daemon):
    """Revoked is revoked; a .strm that was not written yet is written then, one that was is left."""
    old = {name: path_of(daemon, f"{name}.strm") for name in "AB"}
    # The first .strm cannot be written: its temporary name is taken by a folder with something in it.
    blocker = daemon.library / ".A.strm.part"
    blocker.mkdir()
    (blocker / "x").touch()
    done = tgsyncd(daemon, "auth", "rotate", "--all")
    assert done.returncode == 0
    assert "1 .strm files could not be written" in done.stderr
    daemon.stop(signal.SIGKILL)
    assert path_of(daemon, "A.strm") == old["A"]
    new_b = path_of(daemon, "B.strm")
    shutil.rmtree(blocker)
    daemon.start().ready()
    wait_for(lambda: path_of(daemon, "A.strm") != old["A"], "A.strm written anew")
    assert refuses(daemon, old["A"])
    daemon.plays("A.strm")
    assert path_of(daemon, "B.strm") == new_b


def test_open_playback_has_nothing_to_revoke(new_daemon, films):
    """And says so; when it becomes signed, the .strm files follow."""
    daemon = new_daemon(auth={"playback": "open"})
    shutil.copy(films[0], daemon.source / "A.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("A.strm")
    done = tgsyncd(daemon, "auth", "rotate", "--all")
    assert done.returncode == 4
    assert "playback is open" in done.stderr
    open_path = path_of(daemon, "A.strm")
    assert "/p/" not in open_path
    daemon.stop()
    assert tgsyncd(daemon, "auth", "rotate", "--all").returncode == 4

    daemon.configure(auth={"playback": "signed"})
    daemon.start().ready()
    wait_for(lambda: "/p/" in path_of(daemon, "A.strm"), "a signed .strm")
    assert refuses(daemon, open_path)
    daemon.plays("A.strm")
