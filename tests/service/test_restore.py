# SPDX-License-Identifier: MIT
"""Going back to a copy of the catalog: afterwards every ``.strm`` plays, and what is lost is said."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

from tests.service.running import wait_for
from tests.service.test_rotate import path_of, refuses, tgsyncd


def test_a_copy_is_put_back_and_the_daemon_puts_the_rest_right(new_daemon, films):
    """Stored since: kept. Revoked since: stays so. Deleted since: taken out of the library, and said."""
    daemon = new_daemon()
    for name, film in (("A.mkv", films[0]), ("B.mkv", films[1])):
        shutil.copy(film, daemon.source / name)
    daemon.start().ready()
    daemon.wait_for_strms("A.strm", "B.strm")
    done = tgsyncd(daemon, "catalog", "backup", "--json")
    assert done.returncode == 0, done.stderr
    copy = json.loads(done.stdout)["path"]
    assert copy in tgsyncd(daemon, "catalog", "backups").stdout

    shutil.copy(films[2], daemon.source / "C.mkv")
    daemon.wait_for_strms("A.strm", "B.strm", "C.strm")
    revoked = path_of(daemon, "B.strm")
    assert tgsyncd(daemon, "auth", "rotate", "--video-id", "b").returncode == 0
    before = {name: daemon.plays(f"{name}.strm") for name in "BC"}

    refused = tgsyncd(daemon, "catalog", "restore", "--latest")
    assert refused.returncode == 4
    assert f"process {daemon.process.pid}" in refused.stderr
    daemon.stop()
    (daemon.source / "A.mkv").unlink()
    assert tgsyncd(daemon, "delete", "--video-id", "a").returncode == 0
    assert daemon.strms() == ["B.strm", "C.strm"]

    done = tgsyncd(daemon, "catalog", "restore", "--latest")
    assert done.returncode == 0, done.stderr
    assert "taken over: c" in done.stdout
    assert "the daemon will look for: a" in done.stderr
    assert "signed URLs" not in done.stderr
    daemon.start().ready()
    daemon.wait_for_log("the restored catalog is in force: 1 videos are gone")
    daemon.wait_for_log("a: its documents were deleted .*, and its source file is gone")
    for name in ("scan", "published"):
        assert not daemon.run_job(name)["last_failed"]
    assert daemon.strms() == ["B.strm", "C.strm"]
    assert {name: daemon.plays(f"{name}.strm") for name in "BC"} == before
    assert refuses(daemon, revoked)
    assert daemon.rows("SELECT wanted FROM videos WHERE video_id = 'a'") == [("withdrawn",)]
    assert daemon.rows("SELECT count(*) FROM meta WHERE name = 'restored'") == [(0,)]
    assert "Traceback" not in daemon.text()


def test_without_the_old_catalog_nothing_is_left_that_does_not_play(new_daemon, films):
    """A copy from elsewhere. What nobody knows of is stored again, or taken out of the library."""
    daemon = new_daemon(scan={"interval": "1 s"})
    shutil.copy(films[0], daemon.source / "A.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("A.strm")
    copy = daemon.folder / "elsewhere.sqlite3"
    assert tgsyncd(daemon, "catalog", "backup", str(copy)).returncode == 0
    for name, film in (("B.mkv", films[1]), ("C.mkv", films[2])):
        shutil.copy(film, daemon.source / name)
    daemon.wait_for_strms("A.strm", "B.strm", "C.strm")
    (daemon.library / "C.en.srt").write_text("somebody's own subtitles")
    (daemon.library / "Radio.strm").write_text("http://203.0.113.9/radio.m3u8\n")
    old = {name: path_of(daemon, f"{name}.strm") for name in "ABC"}
    daemon.stop()
    (daemon.source / "C.mkv").unlink()
    catalog = daemon.data / "catalog.sqlite3"
    catalog.write_bytes(b"the disk wrote something else here" * 500)

    done = tgsyncd(daemon, "catalog", "restore", str(copy))
    assert done.returncode == 0, done.stderr
    assert "is not known" in done.stderr
    assert "signed URLs that were given out open nothing" in done.stderr
    assert list(daemon.data.glob("catalog.sqlite3-replaced-*"))

    daemon.start().ready()
    daemon.wait_for_log(r"C\.strm opened nothing any more and was removed")
    daemon.wait_for_strms("A.strm", "B.strm", "Radio.strm")
    wait_for(lambda: daemon.rows("SELECT count(*) FROM videos WHERE status = 'active'") == [(2,)])
    wait_for(lambda: path_of(daemon, "B.strm") != old["B"], "B.strm with a new address")
    for name in "AB":
        daemon.plays(f"{name}.strm")
    assert all(refuses(daemon, path) for path in old.values())
    # Not ours, and not in the way.
    assert (daemon.library / "C.en.srt").read_text() == "somebody's own subtitles"
    assert "Traceback" not in daemon.text()


def test_a_video_whose_source_stands_is_stored_again(new_daemon, films):
    """The restored catalog plays what the store does not have any more: the source is the truth."""
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "A.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("A.strm")
    before = daemon.plays("A.strm")
    assert tgsyncd(daemon, "catalog", "backup").returncode == 0
    daemon.stop()
    assert tgsyncd(daemon, "delete", "--video-id", "a").returncode == 0
    assert tgsyncd(daemon, "catalog", "restore", "--latest").returncode == 0
    daemon.start().ready()
    daemon.wait_for_log("its source file is stored again")
    daemon.wait_for_strms("A.strm")
    assert daemon.plays("A.strm") == before
    ((revision,),) = daemon.rows("SELECT current_revision FROM videos")
    assert revision > 1  # URLs of the first revision are cached for ever


def test_a_source_that_we_moved_away_is_not_taken_for_a_removed_one(new_daemon, films):
    """Though the catalog that knew is lost, and removed sources take their videos with them."""
    daemon = new_daemon()
    library = {"name": "Films", "source": "source", "publish": "library"}
    daemon.configure(
        libraries=[{**library, "after_publish": "move", "move_to": "done"}],
        scan={"interval": "1 s", "on_source_removed": "delete"},
    )
    shutil.copy(films[0], daemon.source / "A.mkv")
    (daemon.source / "notes.txt").write_text("the folder is not empty")
    daemon.start().ready()
    daemon.wait_for_strms("A.strm")
    wait_for(lambda: (daemon.folder / "done" / "A.mkv").exists(), "A.mkv moved away")
    daemon.stop()
    copy = daemon.folder / "copy.sqlite3"
    assert tgsyncd(daemon, "catalog", "backup", str(copy)).returncode == 0
    with closing(sqlite3.connect(copy)) as db:  # as if it had been made before the file was moved
        db.execute("DELETE FROM source_releases")
        db.commit()
    (daemon.data / "catalog.sqlite3").unlink()
    assert tgsyncd(daemon, "catalog", "restore", str(copy)).returncode == 0
    daemon.start().ready()
    daemon.wait_for_log("the restored catalog is in force: 0 videos are gone")
    daemon.wait_for_scans(3)
    assert daemon.strms() == ["A.strm"]
    daemon.plays("A.strm")
