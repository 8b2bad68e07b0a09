# SPDX-License-Identifier: MIT
"""
How long ffmpeg takes to the first decoded picture: at the beginning, and far into a film.

    python -m benchmarks.playback_start [--quick]

The film has 8 Mbit/s; Telegram is as in ``playback_cold``. The same ffmpeg plays the same film from a server
that only waits as long as Telegram does, and from one that does not wait at all (``playback_stub``). Each
start is cold: new processes, nothing kept, but for the pinned heads where it says so. They take turns.
"""

from __future__ import annotations

import argparse
import json
import selectors
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

from benchmarks.figures import Figure, show
from benchmarks.playback_rig import (
    DOWNLOAD_BYTES_PER_S,
    GET_FILE_S_PER_MIB,
    LATENCY_S,
    a_rig,
    free_port,
    load_now,
    make_long_film,
    playlist_url,
    wait_for_port,
)

ADDED_S = 0.15
WITH_HEAD_S = 0.3
SEEK_TO = 0.8
BOUND_S = 60.0


def first_picture_s(url, seek_s=None):
    """Start ffmpeg; return the seconds to the first decoded picture."""
    seek = [] if seek_s is None else ["-ss", f"{seek_s:.3f}"]
    argv = ["ffmpeg", "-nostdin", "-v", "fatal", *seek, "-i", url, "-map", "0:v:0", "-c:v", "rawvideo"]
    argv += ["-flush_packets", "1", "-f", "framecrc", "pipe:1"]
    begun = time.perf_counter()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        text = b""
        # A picture is a line that begins with its stream's number; the lines before it with "#".
        while not any(line.startswith(b"0,") for line in text.splitlines()):
            assert selector.select(BOUND_S), f"no picture from {url} in {BOUND_S} s"
            data = process.stdout.read(65536)
            assert data, f"ffmpeg ended without a picture from {url}"
            text += data
        taken_s = time.perf_counter() - begun
    process.kill()
    process.wait()
    process.stdout.close()
    return taken_s


class Starts:
    """One film, and the ways to start it."""

    def __init__(self, rig):
        self.rig = rig
        self.uploaded = rig.write_config(server={"public_urls": ["http://192.0.2.1:8080"]})
        self.video_id = rig.upload(make_long_film("ts", 5), self.uploaded)
        self.segments = rig.segments(self.video_id)
        self.seek_s = SEEK_TO * sum(segment.duration_s for segment in self.segments)
        with rig.serving() as server:
            with urllib.request.urlopen(playlist_url(server, self.video_id)) as answer:
                lines = answer.read().decode().splitlines()
            self.playlist = rig.folder / "stub.m3u8"
            names = iter(f"{segment.order}.ts" for segment in self.segments)
            kept = [line if line.startswith("#") or not line else next(names) for line in lines]
            self.playlist.write_text("\n".join(kept) + "\n")
            self.stream = rig.folder / "stub.ts"
            with urllib.request.urlopen(f"{server.url}/stream/{self.video_id}.ts") as answer:
                self.stream.write_bytes(answer.read())
        rig.slow()

    @contextmanager
    def tgsyncd(self, *, with_heads):
        """Serve with nothing kept but the heads."""
        config = self.rig.with_heads_of(self.uploaded)
        if not with_heads:
            config = self.rig.write_config(cache={"heads_bytes": 0})
        self.rig.emulator.ask("expire_paths", "POST")
        with self.rig.serving(config) as server:
            urllib.request.urlopen(f"{server.url}/test-jellyfin.m3u8").read()  # it is up, and warm
            yield playlist_url(server, self.video_id)

    @contextmanager
    def stub(self, *, waits=True):
        """Serve with the waiting alone, or not even that: what ffmpeg itself takes."""
        documents = self.rig.documents(self.video_id)
        plan = {
            "playlist": str(self.playlist),
            "stream": str(self.stream),
            "segments": [(each.offset, each.size_bytes) for each in self.segments],
            "documents": [(each.offset, each.end, each.size_bytes) for each in documents],
            "latency_s": LATENCY_S * waits,
            "get_file_s_per_mib": GET_FILE_S_PER_MIB * waits,
            "bytes_per_s": DOWNLOAD_BYTES_PER_S if waits else 1e12,
            "port": free_port(),
        }
        path = self.rig.folder / "stub.json"
        path.write_text(json.dumps(plan))
        argv = [sys.executable, "-m", "benchmarks.playback_stub", str(path)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            wait_for_port(plan["port"], process)
            yield f"http://127.0.0.1:{plan['port']}/film.m3u8"
        finally:
            process.terminate()
            process.wait(30)


def measure(rounds):
    """Return the seconds of every way, by round."""
    times = {}
    with a_rig() as rig:
        starts = Starts(rig)
        for number in range(rounds):
            ways = {
                "no waiting": lambda: starts.stub(waits=False),
                "waiting alone": starts.stub,
                "tgsyncd": lambda: starts.tgsyncd(with_heads=False),
                "tgsyncd, heads": lambda: starts.tgsyncd(with_heads=True),
            }
            names = list(ways)[number % 4 :] + list(ways)[: number % 4]
            for name in names:
                for what, seek_s in (("start", None), ("seek", starts.seek_s)):
                    with ways[name]() as url:
                        times.setdefault((what, name), []).append(first_picture_s(url, seek_s))
    return times


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else arguments.rounds
    times = measure(rounds)
    print(f"{rounds} rounds, {load_now()}")
    print("\n| s to the first picture | median | least | most |\n| --- | --- | --- | --- |")
    for (what, name), seconds in sorted(times.items()):
        cells = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"| {what}, {name} | " + " | ".join(f"{each:.3f}" for each in cells) + " |")
    figures = []
    for what, words in (("start", "cold start"), ("seek", "cold far seek")):
        for name, suffix in (("tgsyncd", ", nothing pinned"), ("tgsyncd, heads", ", pinned head")):
            is_head_start = what == "start" and name != "tgsyncd"
            peer = "no waiting" if is_head_start else "waiting alone"
            figures.append(
                Figure(
                    what=f"{words} to the first picture{suffix}",
                    value=statistics.median(times[what, name]),
                    unit="s",
                    peer=statistics.median(times[what, peer]),
                    peer_name=peer,
                    at_most=WITH_HEAD_S if is_head_start else ADDED_S,
                    limits="value" if is_head_start else "adds",
                )
            )
    return show(figures)


if __name__ == "__main__":
    sys.exit(main())
