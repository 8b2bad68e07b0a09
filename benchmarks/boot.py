# SPDX-License-Identifier: MIT
"""
How long the daemon takes from its start to READY=1 with a million segments: ``python -m benchmarks.boot``.

Beside it the same with an empty catalog, in turn: what is left is what the catalog costs. Each figure is
the median of the runs; the CPU time is that of the whole process until then.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from tests.service.running import Daemon, wait_for

SEGMENTS = 1_000
"""Of a video: a film of an hour and 40 minutes."""


def fill(path: Path, segments: int, library: Path) -> None:
    """Insert videos with so many segments altogether, published and complete."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    for number in range(segments // SEGMENTS):
        video_id = f"film-{number:05}"
        db.execute(
            "INSERT INTO videos (video_id, original_filename, library, source_path, current_revision, status,"
            " total_segments, created_at, updated_at) VALUES (?, 'x.mkv', 'Films', ?, 1, 'active', ?, 0, 0)",
            (video_id, f"/films/{video_id}.mkv", SEGMENTS),
        )
        db.execute(
            "INSERT INTO revisions (video_id, number, stage, source_path, source_size, source_mtime_ns,"
            " source_inode, source_device, source_hash, created_at, updated_at)"
            " VALUES (?, 1, 'published', ?, ?, 1, 1, 1, 'ab', 0, 0)",
            (video_id, f"/films/{video_id}.mkv", 10**9 + number),
        )
        rendition = db.execute(
            "INSERT INTO renditions (video_id, revision, name, kind, container, total_segments, is_complete,"
            " created_at, updated_at) VALUES (?, 1, 'main', 'main', 'mpegts', ?, 1, 0, 0)",
            (video_id, SEGMENTS),
        ).lastrowid
        db.executemany(
            "INSERT INTO rendition_segments (rendition_id, segment_order, byte_offset, file_size, start_time,"
            " duration, sha256, created_at, updated_at) VALUES (?, ?, ?, 3000000, ?, 6.0, ?, 0, 0)",
            [(rendition, order, order * 3_000_000, order * 6.0, os.urandom(32)) for order in range(SEGMENTS)],
        )
        strm = library / f"{video_id}.strm"
        strm.parent.mkdir(parents=True, exist_ok=True)
        strm.write_text("http://192.0.2.9:8080/\n")
        db.execute(
            "INSERT INTO published_files (path, video_id, sha256, updated_at) VALUES (?, ?, 'ab', 0)",
            (str(strm), video_id),
        )
    db.commit()
    db.close()


def boot(daemon: Daemon) -> tuple[float, float]:
    """Start it, wait until it is ready and answers; return seconds and CPU seconds."""
    begun = time.perf_counter()
    daemon.start()
    wait_for(lambda: daemon.notify.has("READY=1") or daemon.process.poll() is not None, "READY=1")
    took_s = time.perf_counter() - begun
    ticks = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    cpu_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    daemon.ready()
    assert daemon.get("/test-jellyfin.m3u8").startswith(b"#EXTM3U")
    assert daemon.stop(bound_s=60.0) == 0
    return took_s, cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boot") as folder:
        daemons = {}
        for name in ("empty", "full"):
            root = Path(folder) / name
            root.mkdir()
            daemons[name] = Daemon(root)
            boot(daemons[name])
        catalog = daemons["full"].data / "catalog.sqlite3"
        fill(catalog, arguments.segments, daemons["full"].library)
        print(f"{arguments.segments:,} segments, {catalog.stat().st_size / 1e6:.0f} MB")
        found: dict[str, list[tuple[float, float]]] = {"empty": [], "full": []}
        for _ in range(arguments.runs):
            for name, daemon in daemons.items():
                found[name].append(boot(daemon))
        for name, times in found.items():
            wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
            print(f"{name}: READY after {wall:.2f} s ({cpu:.2f} s of CPU), median of {arguments.runs}")
        for daemon in daemons.values():
            daemon.close()


if __name__ == "__main__":
    main()
