# SPDX-License-Identifier: MIT
"""``tgsyncd run`` as a process: files come, change, move and go; signals; kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.running import ROOT, wait_for


def test_what_stands_there_and_what_comes_is_stored_published_and_plays(new_daemon, films):
    """Files found at the start and files dropped later; the URLs are signed and open nothing else."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "First.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("First.strm")

    (daemon.source / "Later").mkdir()
    shutil.copy(films[1], daemon.source / "Later" / "Second.mkv")
    daemon.wait_for_strms("First.strm", "Later/Second.strm")

    assert "/p/" in (daemon.library / "First.strm").read_text()
    assert daemon.plays("First.strm") != daemon.plays("Later/Second.strm")
    with pytest.raises(OSError, match=r"HTTP Error 40\d"):
        daemon.get("/playlist/first.m3u8")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.text()


def test_a_file_that_is_still_copied_waits(new_daemon, films):
    """Stored once, and whole: not while it grows, not under the name of a download."""
    daemon = new_daemon(scan={"rest": "1.5 s"})
    daemon.start().ready()
    whole = films[0].read_bytes()
    with (daemon.source / "Film.mkv").open("wb") as file:
        for start in range(0, len(whole), len(whole) // 6 + 1):
            file.write(whole[start : start + len(whole) // 6 + 1])
            file.flush()
            os.fsync(file.fileno())
            wait_for(lambda: "it changed a moment ago" in str(daemon.status()["waiting"]), bound_s=20)
            assert daemon.strms() == []
    part = daemon.source / "Other.mkv.part"
    shutil.copy(films[1], part)
    (daemon.source / ".hidden.mkv").write_bytes(whole)
    (daemon.source / "Film-sample.mkv").write_bytes(films[2].read_bytes())
    daemon.wait_for_strms("Film.strm")
    part.rename(daemon.source / "Other.mkv")
    daemon.wait_for_strms("Film.strm", "Other.strm")
    assert daemon.rows("SELECT count(*) FROM revisions") == [(2,)]


def test_a_renamed_file_is_recognised(new_daemon, films):
    """Nothing is stored again, and the .strm stays: to Jellyfin another name is another film."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "Old.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Old.strm")
    documents = daemon.rows("SELECT * FROM documents")

    (daemon.source / "Old.mkv").rename(daemon.source / "New.mkv")
    new = str(daemon.source / "New.mkv")
    wait_for(lambda: daemon.rows("SELECT source_path FROM videos") == [(new,)], "the new path")

    assert daemon.rows("SELECT * FROM documents") == documents
    assert daemon.strms() == ["Old.strm"]


def test_the_strm_follows_a_renamed_file_where_that_is_wanted(new_daemon, films):
    """on_source_renamed: follow."""
    daemon = new_daemon(scan={"on_source_renamed": "follow"})
    shutil.copy(films[0], daemon.source / "Old.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Old.strm")
    (daemon.source / "Old.mkv").rename(daemon.source / "New.mkv")
    daemon.wait_for_strms("New.strm")
    daemon.plays("New.strm")


def test_a_changed_file_replaces_the_old_version(new_daemon, films):
    """The same .strm plays the new film."""
    daemon = new_daemon()
    target = daemon.source / "Film.mkv"
    shutil.copy(films[0], target)
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    before = daemon.plays("Film.strm")

    shutil.copy(films[1], target)
    wait_for(lambda: daemon.rows("SELECT current_revision FROM videos") == [(2,)], "revision 2")
    assert daemon.plays("Film.strm") != before


def test_a_bad_file_stops_nothing_and_is_not_tried_for_ever(new_daemon, films):
    """It has its reason in the status, and is tried again when it changes."""
    daemon = new_daemon(ingest={"order": "name"})
    (daemon.source / "A.mkv").write_text("no film at all")
    shutil.copy(films[0], daemon.source / "B.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("B.strm")
    (failure,) = daemon.status()["failures"]
    assert failure["path"].endswith("A.mkv")
    assert failure["next_attempt_at_s"] is None

    shutil.copy(films[1], daemon.source / "A.mkv")
    daemon.wait_for_strms("A.strm", "B.strm")
    assert daemon.status()["failures"] == []


def test_a_removed_file_withdraws_nothing_unless_told(new_daemon, films):
    """keep: the video stays and plays."""
    daemon = new_daemon(scan={"interval": "1 s"})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    shutil.copy(films[1], daemon.source / "Other.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm", "Other.strm")
    (daemon.source / "Film.mkv").unlink()
    daemon.wait_for_scans(3)
    assert daemon.strms() == ["Film.strm", "Other.strm"]
    daemon.plays("Film.strm")


@pytest.mark.parametrize(("action", "videos"), [("withdraw", 2), ("delete", 1)])
def test_a_removed_file_is_withdrawn_or_deleted_where_that_is_wanted(new_daemon, films, action, videos):
    """The other one stays."""
    daemon = new_daemon(scan={"interval": "1 s", "on_source_removed": action})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    shutil.copy(films[1], daemon.source / "Other.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm", "Other.strm")
    (daemon.source / "Film.mkv").unlink()
    daemon.wait_for_strms("Other.strm")
    wait_for(lambda: daemon.rows("SELECT count(*) FROM videos") == [(videos,)])


def test_a_withdrawn_video_comes_back_with_its_source(new_daemon, films):
    """Without storing it again."""
    daemon = new_daemon(scan={"interval": "1 s", "on_source_removed": "withdraw"})
    for number in range(2):
        shutil.copy2(films[number], daemon.source / f"{number}.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("0.strm", "1.strm")
    (daemon.source / "0.mkv").unlink()
    daemon.wait_for_strms("1.strm")
    shutil.copy2(films[0], daemon.source / "0.mkv")
    daemon.wait_for_strms("0.strm", "1.strm")
    assert daemon.rows("SELECT count(*) FROM revisions") == [(2,)]


def test_an_emptied_source_folder_is_a_disk_that_is_not_there(new_daemon, films):
    """A warning, and nothing else, even with on_source_removed: delete."""
    daemon = new_daemon(scan={"interval": "1 s", "on_source_removed": "delete"})
    for number in range(3):
        shutil.copy(films[number], daemon.source / f"{number}.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("0.strm", "1.strm", "2.strm")

    daemon.source.rename(daemon.folder / "elsewhere")
    daemon.source.mkdir()
    daemon.wait_for_log("is empty: is its disk mounted")
    daemon.wait_for_scans(2)
    assert daemon.strms() == ["0.strm", "1.strm", "2.strm"]

    daemon.source.rmdir()
    daemon.wait_for_scans(2)
    assert daemon.strms() == ["0.strm", "1.strm", "2.strm"]
    (daemon.folder / "elsewhere").rename(daemon.source)
    shutil.copy(films[3], daemon.source / "3.mkv")
    daemon.wait_for_strms("0.strm", "1.strm", "2.strm", "3.strm")


@pytest.mark.parametrize(
    ("action", "left"), [("restore", ["0.strm", "1.strm"]), ("withdraw", ["1.strm"]), ("delete", ["1.strm"])]
)
def test_a_strm_that_somebody_removed(new_daemon, films, action, left):
    """restore, withdraw or delete; and it stays so although the source file stands there."""
    daemon = new_daemon(scan={"interval": "1 s", "on_strm_removed": action})
    for number in range(2):
        shutil.copy(films[number], daemon.source / f"{number}.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("0.strm", "1.strm")
    (daemon.library / "0.strm").unlink()
    pattern = {"restore": "stands again", "withdraw": "withdrawn, because", "delete": "deleted, because"}
    daemon.wait_for_log(pattern[action])
    daemon.wait_for_scans(2)
    assert daemon.strms() == left
    if action == "delete":
        assert daemon.rows("SELECT DISTINCT video_id FROM renditions") == [("1",)]
        daemon.stop()
        daemon.start().ready()
        daemon.wait_for_scans(1)
        assert daemon.strms() == left


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(new_daemon):
    """Exit code 4; the first is not disturbed."""
    daemon = new_daemon()
    daemon.start().ready()
    second = subprocess.run(
        [sys.executable, "-m", "tgsyncd", "run", "-c", daemon.config, "--port", "0"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(daemon.folder)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 4
    assert f"process {daemon.process.pid} " in second.stderr
    assert daemon.get("/test-jellyfin.m3u8").startswith(b"#EXTM3U")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_upload_that_was_stopped_goes_on(new_daemon, films, number):
    """SIGTERM ends within 10 s and with 0; after either signal the next start finishes the work."""
    daemon = new_daemon(video={"mode": "transcode", "preset": "veryslow", "threads": 1})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    wait_for(lambda: daemon.rows("SELECT 1 FROM revisions WHERE stage = 'probed'"), "cutting")
    code = daemon.stop(number, bound_s=10.0)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)

    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    daemon.plays("Film.strm")
    assert daemon.rows("SELECT count(*) FROM revisions") == [(1,)]
    assert "Traceback" not in daemon.text()


def test_a_strm_written_by_hand_is_signed_by_the_daemon(new_daemon, films):
    """`upload` by hand writes an open URL; the daemon that signs writes it anew at its start."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "Film.mkv")
    done = subprocess.run(
        [sys.executable, "-m", "tgsyncd", "upload", "-c", daemon.config, daemon.source / "Film.mkv"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(daemon.folder)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    strm = daemon.library / "Film.strm"
    assert "/p/" not in strm.read_text()
    daemon.start().ready()
    wait_for(lambda: "/p/" in strm.read_text(), "a signed URL")
    daemon.plays("Film.strm")
    assert daemon.rows("SELECT count(*) FROM revisions") == [(1,)]


def test_what_systemd_hears(new_daemon, films):
    """Ready, what is done, alive as often as it wants, stopping; ffmpeg inherits nothing of it."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.environ = {"WATCHDOG_USEC": "1500000"}
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    wait_for(lambda: daemon.notify.read().count("WATCHDOG=1") > 2, "WATCHDOG=1")
    wait_for(lambda: daemon.notify.has("STATUS=idle, 0 waiting"), "idle")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0
    assert daemon.notify.has("STOPPING=1")


def test_a_disk_that_takes_nothing_starves_the_watchdog(new_daemon):
    """The catalog's folder cannot be written: said once, and not alive until it can be again."""
    daemon = new_daemon()
    daemon.environ = {"WATCHDOG_USEC": "900000"}
    daemon.start().ready()
    wait_for(lambda: daemon.notify.has("WATCHDOG=1"))
    alive = daemon.data / "alive"
    alive.unlink()
    alive.mkdir()
    daemon.wait_for_log("not well: .*alive")
    daemon.notify.read()
    daemon.notify.messages.clear()
    wait_for(lambda: daemon.status()["problem"])
    assert "WATCHDOG=1" not in daemon.notify.read()
    alive.rmdir()
    wait_for(lambda: daemon.notify.has("WATCHDOG=1"))
    daemon.wait_for_log("well again")


def test_sighup_reads_the_configuration_again(new_daemon, films):
    """What can change changes, the rest is named; a wrong file changes nothing."""
    daemon = new_daemon(scan={"exclude": ["*.mkv"]})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    assert daemon.run_job("scan")["last_result"].startswith("0 files")

    daemon.config.write_text(daemon.config.read_text() + "nonsense: 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("not read again: .*nonsense")
    daemon.run_job("backup")
    daemon.configure(
        verify="none", jobs={"backup": ""}, cache={"memory_bytes": "200 MB"}, ingest={"parallel": 2},
        scan={"interval": "7 h"},
    )  # fmt: skip
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("changed: verify, scan, jobs; needs a restart: ingest.parallel, cache")
    daemon.wait_for_strms("Film.strm")
    assert daemon.rows("SELECT count(*) FROM documents WHERE verified_at IS NOT NULL") == [(0,)]
    backup, scan = daemon.job("backup"), daemon.job("scan")
    assert backup["next_run_at_s"] is None
    assert backup["last_result"]
    assert scan["next_run_at_s"] - scan["last_started_at_s"] > 6 * 3600


def test_status_for_people(new_daemon, films):
    """What it does, and why something is not there; exit code 3 without a daemon."""
    daemon = new_daemon()
    (daemon.source / "Bad.mkv").write_text("no film")
    shutil.copy(films[0], daemon.source / "Film.mkv")

    def status():
        return subprocess.run(
            [sys.executable, "-m", "tgsyncd", "status", "-c", daemon.config],
            cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(daemon.folder)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert status().returncode == 3
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    wait_for(lambda: daemon.status()["failures"])
    shown = status()
    assert shown.returncode == 0, shown.stderr
    assert "videos: 1 active" in shown.stdout
    assert "Bad.mkv: " in shown.stdout
    assert "not again until the file changes" in shown.stdout
    assert "backup" in shown.stdout


def test_jobs_can_be_run_at_once(new_daemon, films):
    """A backup is checked, private, and only so many are kept."""
    daemon = new_daemon(jobs={"backup_keep": 2})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    old = daemon.data / "backups"
    old.mkdir()
    for number in range(3):
        (old / f"catalog-2020010{number}T000000Z.sqlite3").touch()
    for name in ("backup", "integrity", "vacuum", "cleanup", "deletions"):
        report = daemon.run_job(name)
        assert not report["last_failed"], report
    copies = sorted(old.iterdir())
    assert [copy.name for copy in copies][:1] == ["catalog-20200102T000000Z.sqlite3"]
    assert len(copies) == 2
    assert copies[1].stat().st_mode & 0o777 == 0o600
    assert daemon.run_job("nothing") == {"error": "there is no job 'nothing'"}


def test_a_taken_port_is_a_sentence(new_daemon):
    """Exit code 2, no traceback, and the lock is free again."""
    first, second = new_daemon(), new_daemon()
    first.start().ready()
    second.start("--port", str(first.port))
    assert second.process.wait(60) == 2
    assert "Traceback" not in second.text()
    second.start().ready()


def test_debug_ready_and_metrics_need_the_token_and_tell_of_the_daemon(new_daemon, films):
    """With signed playback nobody else may look; Prometheus' own parser reads the numbers."""
    daemon = new_daemon()
    (daemon.folder / "token").write_text("a-token-for-the-admin\n")
    (daemon.folder / "token").chmod(0o600)
    daemon.configure(auth={"admin_token_file": "token"})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    assert json.loads(daemon.get("/readyz")) == {"status": "ready"}
    with pytest.raises(OSError, match="HTTP Error 401"):
        daemon.get("/metrics")
    debug = json.loads(daemon.get("/debug", token="a-token-for-the-admin"))
    assert {job["name"] for job in debug["service"]["jobs"]} >= {"scan", "cleanup", "backup"}
    text = daemon.get("/metrics", token="a-token-for-the-admin").decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["tgsyncd_videos", "active"] == 1
    assert found["tgsyncd_healthy",] == 1
    assert found["tgsyncd_job_failed", "scan"] == 0


def test_the_log_has_events_and_no_noise(new_daemon, films):
    """Nothing of ports, factories and requests, to us or by the command line; -v tells of them."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    daemon.plays("Film.strm")
    daemon.status()
    daemon.stop()
    lines = [line.partition(" info: ")[2] for line in daemon.text().splitlines() if " info: " in line]
    words = [line.partition(" ")[0] for line in lines]
    assert words == ["listening", "players", "film:", "stopping;"], daemon.text()
