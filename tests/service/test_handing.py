# SPDX-License-Identifier: MIT
"""Commands beside a running daemon: files handed to it, scans asked for, catalogs only read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.service.running import ROOT, wait_for

QUIET = {"ingest": {"quiet_hours": ["00:00-24:00"]}}


def environ(daemon) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(daemon.folder), "PYTHONPATH": str(ROOT)}


def command(daemon, verb: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tgsyncd", verb, "--config", str(daemon.config), *arguments]


def run(daemon, verb: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(daemon, verb, *arguments),
        capture_output=True, text=True, timeout=120, check=False, env=environ(daemon), cwd=daemon.folder,
    )  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path, films):
    """A folder outside of all libraries."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(films[0], folder / "Handed.mkv")
    (folder / "broken.mkv").write_text("no film at all")
    return folder


def test_files_are_handed_to_the_running_daemon(new_daemon, films, elsewhere):
    """It stores them before what waits, in quiet hours too; outcomes and exit code are as by hand."""
    daemon = new_daemon(**QUIET)
    shutil.copy(films[1], daemon.source / "Waits.mkv")
    daemon.start().ready()
    wait_for(lambda: daemon.status()["queue_length"] == 1, "one waits")

    done = run(daemon, "upload", "--video", str(elsewhere), "--json", "--library", "Films")

    assert done.returncode == 5, done.stderr
    broken, stored = sorted(json.loads(done.stdout), key=lambda each: each["path"], reverse=True)
    assert broken["error"]["kind"] == "NotAVideo"
    assert stored["video_id"] == "handed"
    assert "/p/" in stored["playlist_url"]
    daemon.wait_for_strms("Handed.strm")
    daemon.plays("Handed.strm")
    assert daemon.status()["queue_length"] == 1

    shown = run(daemon, "upload", str(elsewhere / "Handed.mkv"), "--host", "192.0.2.77")
    assert shown.returncode == 0, shown.stderr
    assert "Handed.mkv: unchanged as handed" in shown.stdout
    assert "not --host and --port" in shown.stderr
    assert "a daemon runs" in shown.stderr
    wrong = run(daemon, "upload", str(elsewhere / "Handed.mkv"), "--library", "Fils")
    assert (wrong.returncode, "there is no library 'Fils'" in wrong.stderr) == (2, True)
    missing = run(daemon, "upload", str(elsewhere / "missing.mkv"))
    assert (missing.returncode, "is gone, or empty" in missing.stderr) == (5, True)


def test_ctrl_c_leaves_the_daemon_at_work(new_daemon, films, elsewhere):
    """It says so, and the film is stored all the same."""
    daemon = new_daemon(**QUIET)
    daemon.start().ready()
    with subprocess.Popen(
        command(daemon, "upload", str(elsewhere / "Handed.mkv"), "--library", "Films"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(daemon),
    ) as process:  # fmt: skip
        seen = ""
        while "Handed.mkv: " not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    assert "the daemon goes on with it" in rest
    daemon.wait_for_strms("Handed.strm")


def test_a_file_that_was_begun_goes_on_after_a_restart(new_daemon, films, elsewhere):
    """No scan would find it: it lies in no library."""
    daemon = new_daemon()
    daemon.start().ready()
    process = subprocess.Popen(
        command(daemon, "upload", str(elsewhere / "Handed.mkv"), "--library", "Films"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(daemon),
    )  # fmt: skip
    with process:
        wait_for(lambda: daemon.data.exists() and daemon.rows("SELECT count(*) FROM revisions") == [(1,)])
        daemon.process.kill()
        daemon.process.wait(30)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in {0, 1}
        assert process.returncode == 0 or "the daemon does not answer any more" in errors
    daemon.notify.read().clear()
    daemon.start().ready()
    daemon.wait_for_strms("Handed.strm")


def test_scan_asks_the_daemon_or_foresees(new_daemon, films):
    """Without a daemon nothing is made, not even a catalog."""
    daemon = new_daemon(
        scan={"rest": "0 s", "interval": "1 h", "inotify": False, "on_source_removed": "delete"}
    )
    shutil.copy(films[0], daemon.source / "Film.mkv")
    alone = run(daemon, "scan")
    assert alone.returncode == 0, alone.stderr
    assert f"  {daemon.source}/Film.mkv: new: is stored and published\n" in alone.stdout
    assert not (daemon.data / "catalog.sqlite3").exists()

    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    shutil.copy(films[1], daemon.source / "Other.mkv")
    asked = run(daemon, "scan")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("2 files in ")
    daemon.wait_for_strms("Film.strm", "Other.strm")
    assert json.loads(run(daemon, "scan", "--json").stdout)["name"] == "scan"
    daemon.stop()

    (daemon.source / "Film.mkv").unlink()
    shutil.copy(films[2], daemon.source / "Other.mkv")
    os.utime(daemon.source / "Other.mkv", (1e9, 1e9))
    foreseen = {each["path"].rpartition("/")[2]: each["what"]
                for each in json.loads(run(daemon, "scan", "--json").stdout)["Films"]}  # fmt: skip
    assert foreseen == {"Film.mkv": "gone", "Other.mkv": "changed"}


def test_lists_only_read_the_catalog(new_daemon):
    """None is made; a folder that cannot be written to is enough."""
    daemon = new_daemon()
    empty = run(daemon, "list")
    assert (empty.returncode, "no videos yet" in empty.stderr) == (0, True)
    assert run(daemon, "db-stats").returncode == 3
    assert not daemon.data.exists()


def test_check_and_repair_are_done_by_the_daemon(new_daemon, films):
    """And alike without one; exit code 10 as long as something is wrong."""
    daemon = new_daemon(scan={"interval": "1 h"})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    wait_for(lambda: daemon.status()["stored_since_start"] == 1, "it is stored")
    jobs = {job["name"]: job for job in daemon.status()["jobs"]}
    assert {"scan", "published", "releases", "reconcile", "statistics", "cleanup"} <= set(jobs)
    assert all(job["next_run_at_s"] for job in jobs.values())
    assert daemon.run_job("statistics")["last_result"].startswith("1 videos, ")

    strm = daemon.library / "Film.strm"
    before = strm.read_text()
    strm.write_text("http://elsewhere/\n")
    checked = run(daemon, "check")
    assert (checked.returncode, "strm-altered       film: " in checked.stdout) == (10, True), checked.stderr
    mended = run(daemon, "repair", "--read", "--json")
    assert (mended.returncode, json.loads(mended.stdout)["left"]) == (0, 0)
    assert strm.read_text() == before
    assert run(daemon, "check", "--video-id", "other").returncode == 3
    assert daemon.run_job("reconcile")["last_result"].endswith("0 videos mended")
    daemon.stop()

    alone = run(daemon, "check", "--read")
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.endswith("; no problems\n")
    strm.unlink()
    assert run(daemon, "repair").returncode == 0
    assert strm.exists()
