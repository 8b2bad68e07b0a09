# SPDX-License-Identifier: MIT
"""Libraries whose source files are released, under a running daemon."""

from __future__ import annotations

import shutil

import pytest

from tests.service.running import wait_for


def library(**more) -> dict:
    return {"libraries": [{"name": "Films", "source": "source", "publish": "library", **more}]}


@pytest.mark.parametrize(
    "after", [{"after_publish": "delete"}, {"after_publish": "move", "move_to": "moved"}]
)
def test_a_source_that_we_took_away_is_not_one_that_somebody_removed(new_daemon, films, after):
    """The strictest of the settings for vanished files does nothing to it; another one's still counts."""
    daemon = new_daemon(scan={"interval": "1 s", "on_source_removed": "delete"}, **library(**after))
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    wait_for(lambda: not (daemon.source / "Film.mkv").exists(), "the source is released")
    if "move_to" in after:
        assert (daemon.folder / "moved" / "Film.mkv").read_bytes() == films[0].read_bytes()
    (daemon.source / "keep.txt").write_text("an empty folder would be taken for an unmounted disk")
    daemon.wait_for_scans(3)
    assert daemon.strms() == ["Film.strm"]
    assert daemon.rows("SELECT count(*), max(current_revision) FROM videos") == [(1, 1)]
    daemon.plays("Film.strm")
    assert daemon.run_job("releases")["last_result"] == "none owed"
    assert daemon.stop() == 0


def test_what_a_kill_left_owed_is_done_at_the_next_start(new_daemon, films):
    """Killed at whatever instant after it was published."""
    daemon = new_daemon(scan={"interval": "1 s"}, **library(after_publish="delete"))
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("Film.strm")
    daemon.process.kill()
    daemon.process.wait(30)
    daemon.notify.read().clear()

    daemon.start().ready()
    wait_for(lambda: not (daemon.source / "Film.mkv").exists(), "the source is released")
    wait_for(lambda: daemon.rows("SELECT done_at IS NOT NULL FROM source_releases") == [(1,)], "it is noted")
    daemon.plays("Film.strm")
    assert daemon.stop() == 0
