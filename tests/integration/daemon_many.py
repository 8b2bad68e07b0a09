# SPDX-License-Identifier: MIT
"""
Many small videos at once: dropped into a folder that ``tgsyncd run`` watches.

By hand: ``python -m tests.integration.daemon_many --videos 500``.
"""

from __future__ import annotations

import argparse
import re
import resource
import tempfile
import time
from pathlib import Path

from tests.integration.daemon_checks import files_below
from tests.integration.daemon_world import make_base, with_tail
from tests.service.running import Daemon, wait_for

SAMPLE = 7
"""One in so many is played."""


def drop(source: Path, count: int) -> list[str]:
    """Write so many different films that play alike; return their names without ending."""
    base = make_base("short")
    names = [f"Small film {number:03} ({1900 + number % 100})" for number in range(count)]
    for name in names:
        (source / f"{name}.mp4").write_bytes(with_tail(base, name))
    return names


def run_many(daemon: Daemon, count: int, *, bound_s: float) -> float:
    """Have a running daemon take in so many; return the seconds until all were published and some played."""
    begun = time.monotonic()
    names = drop(daemon.source, count)
    # Read what it tells systemd as well: a full socket is worth a warning to it.
    wait_for(lambda: daemon.notify.read() and len(daemon.strms()) == count, f"{count} .strm files", bound_s)
    wait_for(lambda: "0 waiting" in daemon.status()["now"] and not daemon.status()["working_on"], "rest")
    took_s = time.monotonic() - begun
    assert daemon.strms() == sorted(f"{name}.strm" for name in names)
    beside = {name.rpartition(")")[2] for name in files_below(daemon.library)}
    assert beside == {".strm", ".nfo", "-poster.jpg"}
    assert daemon.rows("SELECT count(*), count(DISTINCT video_id) FROM revisions") == [(count, count)]
    assert daemon.rows("SELECT count(*) FROM videos WHERE status = 'active'") == [(count,)]
    played = {daemon.plays(f"{name}.strm") for name in names[::SAMPLE]}
    assert len(played) == 1
    assert daemon.rows("SELECT count(*) FROM documents") == [(len(files_below(daemon.data / "store")),)]
    assert not re.search(r" (warn|error|critical): ", daemon.text()), daemon.text()
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=500)
    count = parser.parse_args().videos
    with tempfile.TemporaryDirectory(prefix="many") as folder:
        daemon = Daemon(Path(folder), ingest={"parallel": 2})
        try:
            daemon.start().ready()
            took_s = run_many(daemon, count, bound_s=60.0 + 5.0 * count)
            assert daemon.stop() == 0
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = used.ru_utime + used.ru_stime
            print(f"{count} videos in {took_s:.0f} s; CPU with ffmpeg's: {1000 * cpu_s / count:.0f} ms each")
        finally:
            daemon.close()


if __name__ == "__main__":
    main()
