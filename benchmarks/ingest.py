# SPDX-License-Identifier: MIT
"""
Ingest beside ffmpeg's own HLS muxer: ``python benchmarks/ingest.py``.

In turn, on the same disk: (a) ``ffmpeg -c copy -f hls``, fsync and sha256sum of its files; (b) a whole
ingest of the same file in a process of its own, every document read back. Prints wall times, their ratio
pair by pair, our process's peak resident memory (ffmpeg's not counted) and the longest time for which the
reactor stood still.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
HEARTBEAT_S = 0.005


def make_source(size_bytes: int) -> Path:
    """A film-like file: 1080p H.264 of some 8 Mbit/s with AAC, 20 s of it looped to the size."""
    CACHE.mkdir(parents=True, exist_ok=True)
    unit = CACHE / "unit.mkv"
    if not unit.exists():
        ffmpeg(
            "-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=25:d=20,noise=alls=12:allf=t",
            "-f", "lavfi", "-i", "anoisesrc=d=20:a=0.3", "-c:v", "libx264", "-preset", "ultrafast",
            "-b:v", "8M", "-maxrate", "10M", "-bufsize", "16M", "-g", "50",
            "-c:a", "aac", "-b:a", "160k", unit,
        )  # fmt: skip
    source = CACHE / f"source-{size_bytes}.mkv"
    if not source.exists():
        loops = max(0, round(size_bytes / unit.stat().st_size) - 1)
        ffmpeg("-stream_loop", str(loops), "-i", unit, "-c", "copy", source)
    return source


def ffmpeg(*arguments: object) -> None:
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def run_peer(source: Path, folder: Path) -> float:
    """ffmpeg's HLS muxer, then what makes its files as safe and as checked as ours."""
    began = time.monotonic()
    ffmpeg(
        "-i", source, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "hls", "-hls_time", "6",
        "-hls_list_size", "0", "-hls_segment_filename", folder / "%05d.ts", folder / "index.m3u8",
    )  # fmt: skip
    files = sorted(folder.glob("*.ts"))
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def run_ours(source: Path, folder: Path) -> dict:
    """A worker process from its start to its exit."""
    began = time.monotonic()
    argv = [sys.executable, __file__, "--worker", str(source), "--folder", str(folder)]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True)
    return {"wall_s": time.monotonic() - began, **json.loads(answer.stdout.splitlines()[-1])}


def worker(source: Path, folder: Path) -> None:
    """Ingest one file and print what it cost."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    from twisted.internet import reactor, task
    from twisted.internet.defer import Deferred

    from tgsyncd.config.schema import Config
    from tgsyncd.daemon import Application, UploadOptions

    config = Config.model_validate(
        {
            "data_dir": folder / "data",
            "cache_dir": folder / "cache",
            "publish": {"directory": folder / "library"},
            "server": {"public_urls": ["http://192.0.2.1:8080"]},
        }
    )
    gaps, last, work_s = [], [None], [0.0]

    def beat() -> None:
        now = time.monotonic()
        if last[0] is not None:
            gaps.append(now - last[0] - HEARTBEAT_S)
        last[0] = now

    async def main() -> None:
        app = await Application.open(reactor, config)
        heart = task.LoopingCall(beat)
        heart.start(HEARTBEAT_S)
        began = time.monotonic()
        outcomes = await app.upload([source], options=UploadOptions(), progress=lambda _: None)
        work_s[0] = time.monotonic() - began
        heart.stop()
        await app.close()
        assert outcomes[0].error is None, outcomes[0].error

    failures = []
    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(main()).addErrback(failures.append).addBoth(lambda _: reactor.stop())
    )
    reactor.run()
    for failure in failures:
        failure.printTraceback()
        sys.exit(1)
    status = Path("/proc/self/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    gaps.sort()
    print(json.dumps({
        "ingest_s": work_s[0], "rss_mb": peak_kib * 1024 / 1e6,
        "stall_ms": gaps[-1] * 1000, "stall_p999_ms": gaps[int(len(gaps) * 0.999)] * 1000,
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000_000, 1_000_000_000])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
        return
    for size in arguments.sizes:
        source = make_source(size)
        rows = []
        for _ in range(arguments.pairs):
            with tempfile.TemporaryDirectory(dir=arguments.folder or CACHE) as folder:
                (peer := Path(folder) / "peer").mkdir()
                peer_s = run_peer(source, peer)
                shutil.rmtree(peer)
                (ours := Path(folder) / "ours").mkdir()
                row = run_ours(source, ours)
                shutil.rmtree(ours)
            rows.append({**row, "peer_s": peer_s, "ratio": row["wall_s"] / peer_s,
                         "ingest_ratio": row["ingest_s"] / peer_s})  # fmt: skip
        print(f"{source.stat().st_size / 1e6:.0f} MB, {len(rows)} pairs: median (min .. max)")
        for key in rows[0]:
            values = [row[key] for row in rows]
            print(f"  {key:14} {statistics.median(values):8.2f}  ({min(values):.2f} .. {max(values):.2f})")


if __name__ == "__main__":
    main()
