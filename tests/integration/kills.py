# SPDX-License-Identifier: MIT
"""
SIGKILL ``tgsyncd upload`` at random instants, run it again, and look at what is left.

By hand: ``python -m tests.integration.kills --kills 60`` (a seed may be given; it is always printed).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

CACHE = Path(__file__).parents[2] / ".cache" / "kills"

NOISE = "testsrc2=s=640x360:r=25:d=10,noise=alls=40:allf=t"
SOURCES = {
    # 90 MB in 80 s of film: some 90 documents of a megabyte, each with its commits.
    "copied": ("-c:v libx264 -preset ultrafast -b:v 9M -g 50 -c:a aac", 8),
    # Encoded anew: a run takes seconds, most of them inside ffmpeg.
    "transcoded": ("-c:v mpeg2video -b:v 6M -g 15 -c:a ac3", 1),
}


def make_source(kind: str) -> Path:
    """Return the film that is ingested: ten seconds encoded once, and looped."""
    codec, loops = SOURCES[kind]
    film = CACHE / f"{kind}.mkv"
    if not film.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unit, made = CACHE / f"{kind}-unit.mkv", CACHE / f"{kind}-made.mkv"
        ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
        inputs = ["-f", "lavfi", "-i", NOISE, "-f", "lavfi", "-i", "sine=d=10"]
        subprocess.run([*ffmpeg, *inputs, *codec.split(), str(unit)], check=True)
        loop = ["-stream_loop", str(loops - 1), "-i", str(unit), "-c", "copy"]
        subprocess.run([*ffmpeg, *loop, str(made)], check=True)
        made.rename(film)
    return film


@dataclass
class Report:
    """What a run of kills saw."""

    kills: int = 0
    finished: int = 0
    instants_s: list[float] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)
    """In which stage the video was when it was killed."""


class Home:
    """One data folder, and the process that works in it. The documents go into a directory store."""

    program: tuple[str, ...] = ("-m", "tgsyncd")

    def __init__(self, folder: Path, source: Path, **sections) -> None:
        self.folder = folder
        self.source = source
        self.config = folder / "tgsyncd.yaml"
        folder.mkdir(parents=True)
        self.config.write_text(
            yaml.safe_dump(
                {
                    "data_dir": str(folder / "data"),
                    "cache_dir": str(folder / "cache"),
                    "publish": {"directory": str(folder / "library")},
                    "server": {"public_urls": ["http://192.0.2.1:8080"]},
                    "documents": {"max_bytes": 1_000_000, "first_bytes": [200_000, 400_000]},
                    "video": {"threads": 2},
                    **sections,
                }
            )
        )

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *self.program, "upload", "--config", str(self.config),
             "--video", str(self.source)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def is_due(self, process: subprocess.Popen, chance: random.Random, took_s: float) -> bool:
        """Wait for the instant of a kill; tell whether the process still runs then."""
        # A third of the kills later than an undisturbed run takes: a rerun has less to store.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.0, took_s * 1.2))
        return process.poll() is None

    def catalog(self) -> sqlite3.Connection | None:
        path = self.folder / "data" / "catalog.sqlite3"
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True) if path.exists() else None

    def strm_files(self) -> list[Path]:
        return list((self.folder / "library").rglob("*.strm"))

    def check_after_kill(self) -> str:
        """Invariants that hold at any instant; return the stage that the video is in."""
        connection = self.catalog()
        if connection is None:
            assert not self.strm_files()
            return "none"
        with contextlib.closing(connection):
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if "revisions" not in tables:
                assert not self.strm_files()
                return "none"
            stages = [row[0] for row in connection.execute("SELECT stage FROM revisions")]
            if self.strm_files():
                assert stages == ["published"], stages
            return stages[0] if stages else "none"

    def documents(self) -> list[tuple]:
        """What the catalog says is stored: rendition, offset, length, sha256."""
        with contextlib.closing(self.catalog()) as connection:
            return connection.execute(
                "SELECT r.name, d.byte_offset, d.length, d.sha256 FROM documents d"
                " JOIN renditions r USING (rendition_id) ORDER BY 1, 2"
            ).fetchall()

    def settle(self) -> None:
        """Wait until the store is done with what killed processes asked of it."""

    def stored(self) -> set:
        """What is in the store."""
        root = self.folder / "data" / "store"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def known(self) -> set:
        """What the catalog knows to be in the store, debts included; named as ``stored`` names it."""
        with contextlib.closing(self.catalog()) as connection:
            rows = connection.execute(
                "SELECT file_unique_id FROM documents UNION SELECT file_unique_id FROM owed_deletions"
            ).fetchall()
            return {row[0] for row in rows}


def run_kills(folder: Path, make_home: Callable[[Path], Home], *, kills: int, seed: int) -> Report:
    """Kill and run again until ``kills`` kills are done; every ingest is brought to its end and compared."""
    chance = random.Random(seed)
    report = Report()
    undisturbed = make_home(folder / "undisturbed")
    began = time.monotonic()
    assert finish(undisturbed) == 0
    took_s = time.monotonic() - began
    expected, number = undisturbed.documents(), 0
    while report.kills < kills:
        number += 1
        home = make_home(folder / f"home-{number}")
        while report.kills < kills:
            process, began = home.start(), time.monotonic()
            if home.is_due(process, chance, took_s):
                process.send_signal(signal.SIGKILL)
                process.communicate()
                report.kills += 1
                report.instants_s.append(round(time.monotonic() - began, 2))
                stage = home.check_after_kill()
                report.stages[stage] = report.stages.get(stage, 0) + 1
                continue
            output = process.communicate()[0].decode(errors="replace")
            assert process.returncode == 0, output
            break
        home.settle()
        assert finish(home) == 0
        report.finished += 1
        compare(home, undisturbed, expected)
    return report


def finish(home: Home) -> int:
    """Run to the end."""
    process = home.start()
    output = process.communicate(timeout=300)[0].decode(errors="replace")
    if process.returncode != 0:
        print(output)
    return process.returncode


def compare(home: Home, undisturbed: Home, expected: list[tuple]) -> None:
    """The killed and resumed ingest equals the undisturbed one, in the catalog and in the store."""
    assert home.check_after_kill() == "published"
    assert home.documents() == expected
    assert home.stored() == home.known()
    assert len(home.stored()) == len(undisturbed.stored())
    assert len(home.strm_files()) == 1
    spool = home.folder / "data" / "spool"
    assert not [path for path in spool.rglob("*") if path.is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="per kind: copied and transcoded")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in SOURCES:
            began = time.monotonic()
            make_home = partial(Home, source=make_source(kind))
            report = run_kills(Path(folder) / kind, make_home, kills=arguments.kills, seed=seed)
            print(f"{kind}: {report} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
