# SPDX-License-Identifier: MIT
"""
How long Jellyfin's probe of a ``.strm`` takes, and what it asks of Telegram.

    python -m benchmarks.playback_probe [--quick]

The command line is Jellyfin's; Telegram takes 1.5 s to answer anything. Beside it stands the same ffprobe on
the source file, which is the least that it can take. Nothing is kept but what the ingest pinned.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks.figures import Figure, show
from benchmarks.playback_rig import a_rig, load_now, make_long_film, playlist_url

LATENCY_S = 1.5
PROBE_S = 0.5


def probe_s(target):
    """Run ffprobe as Jellyfin does; return its seconds."""
    argv = ["ffprobe", "-v", "error", "-analyzeduration", "200M", "-probesize", "1G", "-i", target]
    argv += ["-threads", "0", "-print_format", "json", "-show_streams", "-show_chapters", "-show_format"]
    begun = time.perf_counter()
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    taken_s = time.perf_counter() - begun
    assert answer.stdout.count('"codec_type"') == 2, answer.stdout
    return taken_s


def measure(rounds):
    """Return (seconds through tgsyncd, seconds of the source file, calls to Telegram) by container."""
    found = {}
    for container in ("ts", "fmp4"):
        film = make_long_film(container, 2)
        with a_rig() as rig:
            uploaded = rig.write_config(server={"public_urls": ["http://192.0.2.1:8080"]})
            video_id = rig.upload(film, uploaded)
            rig.slow(LATENCY_S)
            rig.forget_calls()
            with rig.serving(rig.with_heads_of(uploaded)) as server:
                ours, bare = [], []
                for _ in range(rounds):
                    ours.append(probe_s(playlist_url(server, video_id)))
                    bare.append(probe_s(str(film)))
                # What tgsyncd itself asks when it starts is no call for a file.
                calls = [name for name in rig.calls() if name in {"getfile", "download", "forwardmessage"}]
            found[container] = ours, bare, len(calls)
    return found


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else arguments.rounds
    figures = []
    for container, (ours, bare, calls) in measure(rounds).items():
        values = f"least {min(ours):.3f} s, most {max(ours):.3f} s"
        print(f"{container}: {rounds} probes, {values}, {load_now()}")
        figures.append(
            Figure(
                what=f"Jellyfin's probe, {container}, Telegram at 1.5 s",
                value=statistics.median(ours),
                unit="s",
                peer=statistics.median(bare),
                peer_name="source file",
                at_most=PROBE_S,
            )
        )
        figures.append(Figure(what=f"requests to Telegram, {container}", value=calls, at_most=0))
    return show(figures)


if __name__ == "__main__":
    sys.exit(main())
