# SPDX-License-Identifier: MIT
"""
Clients that are slow on purpose: what they cost, and whom.

    python -m benchmarks.playback_slow [--pause 120] [--seconds 5]

50 readers ask for segments of 15 MB and read nothing. 500 connections from several addresses send a header a
byte at a time and are opened again when they are closed, for a while. A normal client asks for 64 KiB of a
cached segment, without and with that crowd. Then ffmpeg plays over HLS and is stopped (SIGSTOP) for two
minutes in the middle of a segment: the pictures it decodes are those that it decodes from the file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.load import memory_bytes, quantile
from benchmarks.playback_warm import CLIENT_CORE, tgsyncd, warm_up

READERS, ASKERS = 50, 500
READER_ADDRESSES = [f"127.0.2.{number}" for number in range(1, 6)]
ASKER_ADDRESSES = [f"127.0.3.{number}" for number in range(1, 21)]
NORMAL = "127.0.4.1"
GONE_S = 40


def request(path, host, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def normal_client(port, path, seconds):
    """Ask for 64 KiB every 10 ms, with a connection each; return seconds from connecting to the end."""
    times, end = [], time.monotonic() + seconds
    data = request(path, f"127.0.0.1:{port}", "Range: bytes=0-65535", "Connection: close")
    while time.monotonic() < end:
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 30, (NORMAL, 0)) as client:
            client.sendall(data)
            size = 0
            while chunk := client.recv(262_144):
                size += len(chunk)
        assert size > 65_536, size
        times.append(time.perf_counter() - begun)
        time.sleep(0.01)
    return times


class Stalled:
    """Readers that asked and do not read."""

    def __init__(self, port, paths):
        self.sockets = []
        for number in range(READERS):
            source = READER_ADDRESSES[number % len(READER_ADDRESSES)]
            client = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
            client.sendall(request(paths[number % len(paths)], f"127.0.0.1:{port}"))
            self.sockets.append(client)

    def open(self):
        return sum(_is_open(client) for client in self.sockets)

    def close(self):
        for client in self.sockets:
            client.close()


class SlowAskers:
    """Connections that send a header a byte at a time."""

    def __init__(self, port):
        self._port, self._turn = port, 0
        self.sockets = [self._connect() for _ in range(ASKERS)]

    def trickle(self, *, again):
        """Each sends a byte; those that were closed begin anew, if told so."""
        for at, client in enumerate(self.sockets):
            try:
                if client is None or not _is_open(client):
                    raise ConnectionError
                client.send(b"a")
            except OSError:
                if client is not None:
                    client.close()
                self.sockets[at] = self._connect() if again else None

    def open(self):
        return sum(client is not None and _is_open(client) for client in self.sockets)

    def close(self):
        for client in self.sockets:
            if client is not None:
                client.close()

    def _connect(self):
        self._turn += 1
        client = socket.socket()
        client.bind((ASKER_ADDRESSES[self._turn % len(ASKER_ADDRESSES)], 0))
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.connect(("127.0.0.1", self._port))
        with suppress(OSError):
            select.select([], [client], [], 1)
            client.send(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        return client


def _is_open(client):
    """Whether the server has not closed it; what it sent is not taken."""
    try:
        return bool(client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def crowd(seconds):
    """Return the figures."""
    with tempfile.TemporaryDirectory() as folder, tgsyncd(Path(folder)) as server:
        port, pid, paths = server
        warm_up(server)
        normal_client(port, paths["small"][0], 1)
        alone = normal_client(port, paths["small"][0], seconds)
        before = memory_bytes(pid)
        stalled, askers = Stalled(port, paths["large"]), SlowAskers(port)
        crowded, most = [], before
        end = time.monotonic() + max(seconds, 12)
        while time.monotonic() < end:
            askers.trickle(again=True)
            crowded += normal_client(port, paths["small"][0], 0.5)
            most = max(most, memory_bytes(pid))
        begun = time.monotonic()
        while askers.open() and time.monotonic() - begun < GONE_S + 20:
            askers.trickle(again=False)
            crowded += normal_client(port, paths["small"][0], 0.5)
            most = max(most, memory_bytes(pid))
        gone_s = time.monotonic() - begun
        readers = stalled.open()
        alone += normal_client(port, paths["small"][0], seconds)
        stalled.close()
        askers.close()
    who = "a normal client among them"
    return [
        Figure(what="memory for them", value=(most - before) / 1e6, unit="MB", at_most=64),
        *[
            Figure(
                what=f"{who}, p{share * 100:.0f}",
                value=quantile(crowded, share) * 1000,
                unit="ms",
                peer=quantile(alone, share) * 1000,
                peer_name="alone",
                at_most=limit,
                limits="ratio",
            )
            for share, limit in ((0.5, None), (0.99, 2.0))
        ],
        Figure(what="until all slow headers are gone", value=gone_s, unit="s", at_most=GONE_S),
        Figure(what="stalled readers that are still there", value=readers, at_least=READERS),
    ]


# --- a player that pauses ----------------------------------------------------------------------------


def frames_of(lines):
    """The pictures' checksums, from ffmpeg's framemd5."""
    return re.findall(r"^0,.*, ([0-9a-f]{32})$", lines, re.MULTILINE)


def frames_argv(source, *options):
    return ["ffmpeg", "-v", "error", *options, "-i", source, "-map", "0:v", "-f", "framemd5", "-"]


def pausing_player(pause_s):
    """Play with ffmpeg, stopped in the middle; return its pictures, the file's pictures, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.playback_server", folder, '{"clip": true}']
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            told = json.loads(server.stdout.readline())
            url = f"http://127.0.0.1:{told['port']}{told['paths']['clip'][0]}"
            begun = time.monotonic()
            out = Path(folder, "frames")
            with out.open("w") as file:
                player = subprocess.Popen(frames_argv(url, "-re"), stdout=file)
            while not out.stat().st_size:
                time.sleep(0.1)
            player.send_signal(signal.SIGSTOP)
            time.sleep(pause_s)
            player.send_signal(signal.SIGCONT)
            assert player.wait(300) == 0
            took_s = time.monotonic() - begun
            original = subprocess.run(
                frames_argv(told["clip"]), capture_output=True, text=True, check=True, timeout=120
            )
            return frames_of(out.read_text()), frames_of(original.stdout), took_s
        finally:
            server.stdin.close()
            server.wait(30)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pause", type=float, default=120)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    figures = crowd(options.seconds)
    if options.pause:
        got, wanted, took_s = pausing_player(options.pause)
        print(f"{len(got)} pictures, {len(wanted)} in the file, {took_s:.0f} s")
        wrong = sum(one != other for one, other in zip_longest(got, wanted))
        what = f"pictures lost by ffmpeg, stopped for {options.pause:.0f} s"
        figures.append(Figure(what=what, value=wrong, at_most=0))
    sys.exit(show(figures))


if __name__ == "__main__":
    main()
