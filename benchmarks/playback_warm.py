# SPDX-License-Identifier: MIT
"""
Cached segments and playlists beside nginx serving the same files.

    python -m benchmarks.playback_warm [--pairs 9] [--seconds 0.6] [--only sendfile]

Each server has one core, the client the other. Pairs are interleaved: nginx and tgsyncd in turn, and
figures are medians of the pairs' ratios. The client has the kernel discard the bytes: one that takes them
needs all of its core at the speed of sendfile, and would be what is measured (--take). Servers and client go
before everything else on the machine where that is allowed.
tgsyncd is measured three times: with the kernel sending its files (which is what it does), without that, and
with its segments in memory only.
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
from itertools import product
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.load import cpu_s, drive, hurry, median, quantile, table
from benchmarks.playback_server import VIDEOS

SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = (1, 8, 32)
SIZES = ("large", "small")

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


def measure(server, name, connections, options):
    port, pid, paths = server
    before = cpu_s(pid)
    result = drive(
        port, paths[name], connections=connections, seconds=options.seconds, discard=not options.take
    )
    return result, (cpu_s(pid) - before) / (result.body_bytes / 1e9)


def warm_up(server):
    hurry(server[1], os.getpid())
    for name in SIZES:
        for path in server[2][name]:
            drive(server[0], [path], connections=1, seconds=0.02)


def compare(peer, variants, name, connections, options):
    """Measure in turn; return for each variant the pairs (nginx, ours), each (result, CPU seconds per GB)."""
    seen = {variant: [] for variant in variants}
    for _ in range(options.pairs):
        for variant, server in variants.items():
            theirs = measure(peer, name, connections, options)
            seen[variant].append((theirs, measure(server, name, connections, options)))
    return seen


def firsts_ms(results, share):
    return quantile([each for result in results for each in result.first_bytes_s], share) * 1000


def row(pairs):
    """One line of the detailed table."""
    ours, theirs = ([pair[side][0] for pair in pairs] for side in (1, 0))
    speeds = [second[0].bytes_per_s / first[0].bytes_per_s for first, second in pairs]
    costs = [second[1] / first[1] for first, second in pairs]
    return (
        f"{median([result.bytes_per_s for result in ours]) / 1e9:.2f}",
        f"{median(speeds):.2f} ({min(speeds):.2f}-{max(speeds):.2f})",
        f"{median([second[1] for _, second in pairs]):.2f}",
        f"{median(costs):.2f} ({min(costs):.2f}-{max(costs):.2f})",
        f"{firsts_ms(ours, 0.5):.2f} / {firsts_ms(ours, 0.99):.2f}",
        f"{firsts_ms(theirs, 0.5):.2f} / {firsts_ms(theirs, 0.99):.2f}",
        f"{median([result.client_share for result in (*ours, *theirs)]):.0%}",
    )


def figures_of(what, connections, pairs):
    """The figures that have limits; throughput and CPU as medians of the pairs."""
    speeds = [second[0].bytes_per_s / first[0].bytes_per_s for first, second in pairs]
    costs = [second[1] / first[1] for first, second in pairs]
    yield Figure(what=f"{what}: throughput, share of nginx's", value=median(speeds), at_least=0.85)
    yield Figure(what=f"{what}: CPU per GB, times nginx's", value=median(costs), at_most=1.5)
    if connections == 1:
        for share, limit_ms in ((0.5, 1.0), (0.99, 5.0)):
            yield Figure(
                what=f"{what}: time to the first byte, p{share * 100:.0f}",
                value=firsts_ms([second[0] for _, second in pairs], share),
                unit="ms",
                peer=firsts_ms([first[0] for first, _ in pairs], share),
                peer_name="nginx",
                at_most=limit_ms,
            )


VARIANTS = {
    "sendfile": ("ours", {}),
    "read and written": ("ours", {"sendfile": False}),
    "from memory": ("memory", {"disk_bytes": 0, "few": True}),
}


@contextmanager
def started(folder, only):
    """
    Start the variants of ours, all warm.

    Anew for each row: here each viewer begins his film again many times a second, and is taken for another
    viewer each time, for two minutes. Nobody has a thousand of them.
    """
    with ExitStack() as stack:
        running = {}
        for name, (cache, settings) in VARIANTS.items():
            if only in name:
                running[name] = stack.enter_context(tgsyncd(folder / cache, settings))
                warm_up(running[name])
        yield running


def playlists(server, rounds):
    results = [drive(server[0], server[2]["playlist"], connections=16, seconds=1.0) for _ in range(rounds)]
    rate = median([each.requests_per_s for each in results])
    return Figure(what="playlists of 1,200 segments, c = 16", value=rate, unit="/s", at_least=1500)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--take", action="store_true", help="take the bytes, instead of discarding them")
    parser.add_argument("--only", default="", help="a variant: sendfile, read or memory")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    rows, figures = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # nginx's worker is another user when we are root
        for name in ("ours", "theirs", "memory"):
            (folder / name).mkdir()
        peer = stack.enter_context(nginx(folder / "theirs"))
        warm_up(peer)
        with tgsyncd(folder / "ours") as first:
            warm_up(first)  # brings everything to disk, where the others find it
            figures.append(playlists(first, 5))
        for name, connections in product(SIZES, CONNECTIONS):
            with started(folder, options.only) as running:
                seen = compare(peer, running, name, connections, options)
            what = f"{VIDEOS[name][0] // 1_000_000} MB, c = {connections}"
            rows += [(f"{what}, {variant}", *row(pairs)) for variant, pairs in seen.items()]
            if "sendfile" in seen:
                figures += figures_of(what, connections, seen["sendfile"])
    columns = [
        "GB/s",
        "x nginx",
        "CPU s/GB",
        "x nginx",
        "first byte p50 / p99 ms",
        "nginx's",
        "client's core",
    ]
    table("cached segments", columns, rows)
    sys.exit(min(show(figures), 100))


if __name__ == "__main__":
    main()
