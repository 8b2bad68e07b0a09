# SPDX-License-Identifier: MIT
"""
A server with cached segments, in a process of its own, for the other benchmarks.

    python -m benchmarks.playback_server <folder for the cache> [<settings of the server, as JSON>]

It is the daemon's HTTP side and cache over a store in memory, signed, with one video of segments of 15 MB,
one of 3 MB and one of 1,200 segments. It prints a line of JSON (port, paths) and serves until its standard
input ends. What it served it finds on disk when it is started again.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install()

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react

VIDEOS = {"large": (15_000_000, 12), "small": (3_000_000, 48), "long": (1_880, 1_200)}
SECRET = b"s" * 32


def make_stream(size_bytes, count, seed):
    from tests.playback.streams import Stream

    rng, parts, cuts = random.Random(seed), [], []
    for order in range(count):
        cuts.append((order * size_bytes, size_bytes, order * 6.0, 6.0))
        parts.append(b"\x47" + rng.randbytes(size_bytes - 1))
    return Stream(data=b"".join(parts), cuts=tuple(cuts))


async def serve(folder, *, clip=False, sendfile=True, disk_bytes=2_000_000_000, few=False, **settings):
    """Serve; ``few``: so few segments that all of them fit into memory."""
    from tests.playback.streams import Server, clip_path, make_clip, with_longer_segments
    from tgsyncd.playback import resources
    from tgsyncd.playback.access import capability_for
    from tgsyncd.playback.engine import CacheSettings, Engine
    from tgsyncd.playback.settings import AuthMode, ServerSettings

    if not sendfile:
        resources.can_send_files = lambda _: False
    cache = CacheSettings(folder=Path(folder, "cache"), ahead_s=0.0, disk_bytes=disk_bytes)
    ended = Deferred()

    class Input(Protocol):
        def connectionLost(self, _reason):  # noqa: N802 (Twisted's name)
            ended.callback(None)

    server = await Server.start(
        Path(tempfile.mkdtemp(dir=folder)),
        ServerSettings(auth=AuthMode.SIGNED, capability_secret=SECRET, **settings),
        make_engine=lambda catalog, store: Engine(catalog, store, reactor, cache=cache),
    )
    paths, told = {}, {}
    for seed, (name, (size_bytes, count)) in enumerate(VIDEOS.items()):
        if few and name != "long":
            count = count // 4
        await server.add(name, make_stream(size_bytes, count, seed), document_bytes=15_000_000)
        key = capability_for(SECRET, name, server.catalog.video(name).capability_generation)
        paths[name] = [f"/p/{key}/segment/{name}/1/main/segment_{order:04d}.ts" for order in range(count)]
    paths["playlist"] = [f"/p/{key}/playlist/long.m3u8"]
    if clip:
        await server.add("clip", with_longer_segments(make_clip("noise-ts"), 4))
        key = capability_for(SECRET, "clip", server.catalog.video("clip").capability_generation)
        paths["clip"] = [f"/p/{key}/playlist/clip.m3u8"]
        told["clip"] = str(clip_path("noise-ts"))
    print(json.dumps({"port": server.port, "paths": paths, **told}), flush=True)
    StandardIO(Input())
    await ended
    await server.stop()


def main():
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    react(lambda _: Deferred.fromCoroutine(serve(sys.argv[1], **settings)))


if __name__ == "__main__":
    main()
