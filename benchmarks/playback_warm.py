# SPDX-License-Identifier: MIT
"""
Cached segments and playlists beside nginx serving the same files.

    python -m benchmarks.playback_warm [--pairs 9] [--seconds 0.8]

Each server has one core, the client the other. Pairs are interleaved: nginx and tgsyncd in turn, and
figures are medians of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.load import cpu_s, drive, hurry, median, quantile, table
from benchmarks.playback_server import VIDEOS

SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = (1, 8, 32)
SIZES = ("large", "small")
TARGETS = "CPU per GB <= 1.5 x nginx, throughput >= 0.85, first byte p50 <= 1 ms and p99 <= 5 ms"

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type video/mp2t;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


@contextmanager
def nginx(folder):
    """nginx over files of the same sizes; yields (port, pid of the worker, paths)."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = folder / "files"
    files.mkdir()
    paths = {"large": [], "small": []}
    for name in SIZES:
        size, count = VIDEOS[name]
        for number in range(count):
            (files / f"{name}-{number}.ts").write_bytes(os.urandom(size))
            paths[name].append(f"/{name}-{number}.ts")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    command = ["taskset", "-c", str(SERVER_CORE), program, "-p", folder, "-c", folder / "nginx.conf"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        workers = []
        while not workers:
            time.sleep(0.05)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            workers = [int(child) for child in children]
        yield port, workers[0], paths
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def tgsyncd(folder, settings=None, core=SERVER_CORE):
    """tgsyncd with the cache in this folder; yields (port, pid, paths)."""
    command = [sys.executable, "-m", "benchmarks.playback_server", str(folder), json.dumps(settings or {})]
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line, "the server did not start"
        told = json.loads(line)
        yield told["port"], process.pid, told["paths"]
    finally:
        process.stdin.close()
        process.wait(30)


def measure(server, name, connections, seconds):
    port, pid, paths = server
    before = cpu_s(pid)
    result = drive(port, paths[name], connections=connections, seconds=seconds)
    return result, (cpu_s(pid) - before) / (result.body_bytes / 1e9)


def warm_up(server):
    hurry(server[1], os.getpid())
    for name in SIZES:
        for path in server[2][name]:
            drive(server[0], [path], connections=1, seconds=0.02)


def compare(peer, variants, name, connections, *, pairs, seconds):
    """Measure in turn; return for each variant the pairs (nginx, ours)."""
    seen = {variant: [] for variant in variants}
    for _ in range(pairs):
        for variant, server in variants.items():
            theirs = measure(peer, name, connections, seconds)
            seen[variant].append((theirs, measure(server, name, connections, seconds)))
    return seen


def row(pairs):
    """One line of the table, from pairs of (result, CPU seconds per GB)."""
    ours = [second[0] for _, second in pairs]
    firsts = [first for result in ours for first in result.first_bytes_s]
    theirs = [first for pair in pairs for first in pair[0][0].first_bytes_s]
    speeds = [second[0].bytes_per_s / first[0].bytes_per_s for first, second in pairs]
    costs = [second[1] / first[1] for first, second in pairs]
    return (
        f"{median([result.bytes_per_s for result in ours]) / 1e9:.2f}",
        f"{median(speeds):.2f} ({min(speeds):.2f}-{max(speeds):.2f})",
        f"{median([second[1] for _, second in pairs]):.2f}",
        f"{median(costs):.2f} ({min(costs):.2f}-{max(costs):.2f})",
        f"{quantile(firsts, 0.5) * 1000:.2f} / {quantile(firsts, 0.99) * 1000:.2f}",
        f"{quantile(theirs, 0.5) * 1000:.2f} / {quantile(theirs, 0.99) * 1000:.2f}",
        f"{max(max(first[0].client_share, second[0].client_share) for first, second in pairs):.0%}",
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # nginx's worker is another user when we are root
        for name in ("ours", "theirs"):
            (folder / name).mkdir()
        peer = stack.enter_context(nginx(folder / "theirs"))
        in_memory = stack.enter_context(tgsyncd(folder / "ours"))
        warm_up(in_memory)
        warm_up(peer)
        variants = {"memory": in_memory}
        for variant, settings in (("disk", {}),):
            variants[variant] = stack.enter_context(tgsyncd(folder / "ours", settings))
            warm_up(variants[variant])
        variants = {name: server for name, server in variants.items() if options.only in name}
        rows = []
        for name in SIZES:
            for connections in CONNECTIONS:
                seen = compare(
                    peer, variants, name, connections, pairs=options.pairs, seconds=options.seconds
                )
                rows += [(f"{name} {v} c={connections}", *row(pairs)) for v, pairs in seen.items()]
        columns = ["GB/s", "x nginx", "CPU s/GB", "x nginx", "first byte ms", "nginx's", "client"]
        table("cached segments", columns, rows)
        playlists = [
            drive(in_memory[0], in_memory[2]["playlist"], connections=16, seconds=1.0) for _ in range(5)
        ]
        rate = median([each.requests_per_s for each in playlists])
        print(f"\nplaylists of 1,200 segments, c = 16: {rate:.0f}/s")
    print(f"\ntargets: {TARGETS}; playlists >= 1,500/s")


if __name__ == "__main__":
    main()
