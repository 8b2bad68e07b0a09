# SPDX-License-Identifier: MIT
"""What must be true of a daemon's home: after any kill, and when it has come to rest."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import subprocess
from pathlib import Path

from tests.integration.daemon_world import World
from tests.service.running import Daemon, wait_for

SEGMENTS = """
SELECT s.segment_order, s.sha256 FROM videos AS v
JOIN renditions AS r ON r.video_id = v.video_id AND r.revision = v.current_revision AND r.name = 'main'
JOIN rendition_segments AS s USING (rendition_id) WHERE v.video_id = ? ORDER BY s.segment_order"""


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def check_after_kill(daemon: Daemon) -> None:
    """Nobody runs: the catalog is intact, and what stands in the library could be played."""
    path = daemon.data / "catalog.sqlite3"
    strms = files_below(daemon.library) if daemon.library.exists() else set()
    strms = {name for name in strms if name.endswith(".strm")}
    if not path.exists():
        assert not strms
        return
    # Not read-only: the WAL of who was killed is to be taken in, as any program would.
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'published_files'").fetchall():
            assert not strms
            return
        playing = dict(
            db.execute(
                "SELECT path, current_revision FROM published_files JOIN videos USING (video_id)"
                " WHERE path LIKE '%.strm'"
            )
        )
        for name in strms:
            path = str(daemon.library / name)
            assert playing.get(path) is not None, f"{name} plays nothing"


class Rest:
    """What must be true when a daemon has nothing left to do."""

    def __init__(self, daemon: Daemon, world: World, *, policies: dict[str, str]) -> None:
        self.daemon = daemon
        self.world = world
        self.policies = policies
        self.played = 0
        self.probed = 0
        self.expected: dict[str, str] = {}
        """sha256 of the stream that each kind of film becomes: the same each time."""

    def settle(self, bound_s: float = 120.0) -> None:
        """Wait until nothing is under way, and two scans have seen nothing new."""
        for _ in range(3):
            for job in ("scan", "published"):
                self.daemon.run_job(job)
            wait_for(self._is_idle, self._describe, bound_s)
        for job in ("cleanup", "deletions"):
            report = self.daemon.run_job(job)
            assert not report["last_failed"], report

    def _is_idle(self) -> bool:
        status = self.daemon.status()
        return not (status["queue_length"] or status["working_on"] or status["waiting"])

    def _describe(self) -> str:
        status = {key: value for key, value in self.daemon.status().items() if key != "jobs"}
        return f"at rest; {status}\n{self.daemon.text()[-3000:]}"

    def check(self, stored: set, known: set) -> None:
        """Everything; ``stored`` is what the store has, ``known`` what the catalog says that it has."""
        self.world.check_untouched()
        self._check_videos()
        assert known <= stored, f"lost {sorted(known - stored)[:5]}\n{self.daemon.text()[-3000:]}"
        assert not stored - known, f"orphans {sorted(stored - known)[:5]}\n{self.daemon.text()[-3000:]}"
        assert self.daemon.rows("SELECT count(*) FROM owed_deletions") == [(0,)]
        litter = [name for name in files_below(self.daemon.library) if name.endswith(".part")]
        assert not litter
        assert not files_below(self.daemon.data / "spool")
        assert self.daemon.status()["failures"] == [], self.daemon.text()[-3000:]

    def _check_videos(self) -> None:
        daemon = self.daemon
        videos = daemon.rows("SELECT video_id, source_path, current_revision, wanted FROM videos")
        published = dict(daemon.rows("SELECT path, video_id FROM published_files WHERE path LIKE '%.strm'"))
        there = {str(daemon.library / name) for name in files_below(daemon.library)}
        ours = {path for (path,) in daemon.rows("SELECT path FROM published_files")}
        assert there == ours, f"{sorted(there ^ ours)}\n{daemon.text()[-3000:]}"
        shown = {video_id for video_id, _, revision, wanted in videos if revision and wanted == "published"}
        sources = {str(daemon.source / name): name for name in self.world.films}
        if self.policies["on_source_removed"] == "withdraw":
            shown = {video[0] for video in videos if video[0] in shown and video[1] in sources}
        assert sorted(published.values()) == sorted(shown), (
            f"{sorted({*published.values()} ^ shown)}\n{daemon.text()[-3000:]}"
        )
        by_source = {source: video_id for video_id, source, _, _ in videos}
        self._check_sources(videos, sources, by_source)
        for path, video_id in published.items():
            source = next(video[1] for video in videos if video[0] == video_id)
            film = self.world.films.get(sources.get(source, ""))
            self._plays(Path(path), video_id, film.kind if film else None)
            if self.policies["on_source_renamed"] == "follow" and film is not None:
                place = str(daemon.library / sources[source]).removesuffix(".mp4")
                assert path.removesuffix(".strm") in {place, f"{place} [{video_id}]"}, path

    def _check_sources(self, videos: list[tuple], sources: dict[str, str], by_source: dict[str, str]) -> None:
        """Each source file is one video; whose source is gone is what was wanted then."""
        missing = sorted(set(sources) - set(by_source))
        assert not missing, f"not in the catalog: {missing}\n{self.daemon.text()[-3000:]}"
        paths = [source for _, source, _, _ in videos if source in sources]
        assert len(paths) == len(set(paths)), sorted(paths)
        gone = {video_id for video_id, source, _, _ in videos if source not in sources}
        if self.policies["on_source_removed"] == "delete":
            assert not gone, f"{gone}\n{self.daemon.text()[-3000:]}"

    def _plays(self, strm: Path, video_id: str, kind: str | None) -> None:
        url = strm.read_text().strip().removeprefix("http://192.0.2.9:8080")
        playlist = self.daemon.get(url).decode()
        names = [line for line in playlist.splitlines() if line and not line.startswith("#")]
        wanted = self.daemon.rows(SEGMENTS, video_id)
        assert len(names) == len(wanted) > 0
        whole = hashlib.sha256()
        for name, (_, digest) in zip(names, wanted, strict=True):
            data = self.daemon.get(name.removeprefix("http://192.0.2.9:8080"))
            assert hashlib.sha256(data).digest() == digest, f"{name} of {strm}"
            whole.update(data)
        self.played += 1
        if kind is not None:
            assert whole.hexdigest() == self.expected.setdefault(kind, whole.hexdigest()), strm
        if self.played % 10 == 1:
            self._probe(url)

    def _probe(self, url: str) -> None:
        """Look at it as Jellyfin does, whose ffprobe reads the playlist's own addresses."""
        text = self.daemon.get(url).decode()
        first = re.findall(r"^http://\S+", text, re.MULTILINE)[0]
        target = first.replace("http://192.0.2.9:8080", f"http://127.0.0.1:{self.daemon.port}")
        argv = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", target]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        assert {"h264", "aac"} <= set(done.stdout.split()), done
        self.probed += 1
