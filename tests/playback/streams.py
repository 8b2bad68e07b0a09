# SPDX-License-Identifier: MIT
"""Videos for tests of the server without the ingest, stored and catalogued by hand."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.fakes.memory_store import MemoryStore
from tgsyncd.catalog import Catalog
from tgsyncd.model import (
    Container,
    RenditionKind,
    RenditionPlan,
    Segment,
    SourceIdentity,
    VideoId,
)
from tgsyncd.playback.app import build_site
from tgsyncd.playback.engine import Engine, Patience
from tgsyncd.playback.settings import ServerSettings

CACHE = Path(__file__).parents[2] / ".cache" / "playback-clips"


class FixedClock:
    def now_s(self):
        return 1_700_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of one rendition and where its segments are: (offset, size, start_s, duration_s)."""

    data: bytes
    cuts: tuple[tuple[int, int, float, float], ...]
    container: Container = Container.MPEGTS
    init_bytes: int = 0
    codecs: str = "avc1.64001f,mp4a.40.2"
    name: str = "main"
    kind: RenditionKind = RenditionKind.MAIN
    language: str | None = None
    width: int = 640
    height: int = 360
    frame_rate: float = 25.0

    @property
    def duration_s(self):
        return sum(cut[3] for cut in self.cuts)

    def segment_bytes(self, order):
        offset, size, _, _ = self.cuts[order]
        return self.data[offset : offset + size]


def ts_stream(segment_packets=(700, 900, 300), *, seed=1, **more):
    """Bytes that look like a transport stream: packets of 188 that begin with 0x47."""
    rng = random.Random(seed)
    parts, cuts, offset = [], [], 0
    for order, packets in enumerate(segment_packets):
        part = b"".join(b"\x47" + rng.randbytes(187) for _ in range(packets))
        cuts.append((offset, len(part), order * 6.006, 6.006))
        parts.append(part)
        offset += len(part)
    return Stream(data=b"".join(parts), cuts=tuple(cuts), **more)


def fmp4_stream(sizes=(50_000, 90_000), *, init_bytes=1_234, seed=2, **more):
    """Bytes that look like fMP4: an initialization section and segments that begin with a box's length."""
    rng = random.Random(seed)
    data, cuts = b"\0\0\0\x20ftyp" + rng.randbytes(init_bytes - 8), []
    for order, size in enumerate(sizes):
        cuts.append((len(data), size, order * 5.0, 5.0))
        data += b"\0\0\0\x40moof" + rng.randbytes(size - 8)
    more = {"codecs": "av01.0.04M.08,opus", **more}
    return Stream(data=data, cuts=tuple(cuts), container=Container.FMP4, init_bytes=init_bytes, **more)


async def store_video(catalog, store, video_id, streams, *, document_bytes=100_000, publish=True):
    """Put the streams into the store and the catalog as a new revision; return its number."""
    video_id = VideoId(video_id)
    await catalog.create_video(
        video_id, original_filename=f"{video_id}.mkv", library="movies", source_path=f"/in/{video_id}"
    )
    source = SourceIdentity(
        path=f"/in/{video_id}", size_bytes=1, mtime_ns=1, inode=1, device=1, sampled_hash="0"
    )
    revision = await catalog.begin_revision(video_id, source)
    for stream in streams:
        await _store_rendition(catalog, store, video_id, revision, stream, document_bytes)
    if publish:
        await catalog.publish_revision(video_id, revision)
    return revision


async def _store_rendition(catalog, store, video_id, revision, stream, document_bytes):
    plan = RenditionPlan(
        name=stream.name,
        kind=stream.kind,
        container=stream.container,
        streams=(),
        language=stream.language,
    )
    rendition_id = await catalog.create_rendition(video_id, revision, plan)
    await catalog.record_segments(
        rendition_id,
        [
            Segment(
                order=order,
                offset=offset,
                size_bytes=size,
                start_s=start_s,
                duration_s=duration_s,
                sha256=hashlib.sha256(stream.data[offset : offset + size]).hexdigest(),
            )
            for order, (offset, size, start_s, duration_s) in enumerate(stream.cuts)
        ],
    )
    for number, offset in enumerate(range(0, len(stream.data), document_bytes)):
        part = stream.data[offset : offset + document_bytes]
        # The stored document is longer than what the stream has of it, as after a resumed transcode.
        ref = store.add(part + b"left over" if number == 1 else part)
        await catalog.record_document(rendition_id, number=number, offset=offset, length=len(part), ref=ref)
    rate = round(len(stream.data) * 8 / max(stream.duration_s, 0.1))
    await catalog.finish_rendition(
        rendition_id,
        codecs=stream.codecs,
        bandwidth=rate * 2,
        average_bandwidth=rate,
        width=stream.width,
        height=stream.height,
        frame_rate=stream.frame_rate,
        stream_bytes=len(stream.data),
        init_bytes=stream.init_bytes,
        duration_s=stream.duration_s,
        independent_segments=True,
    )


# --- clips that players can play ---------------------------------------------------------------------

_H264 = ["-c:v", "libx264", "-preset", "veryfast"]
_HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error"]

# ffmpeg's options, its name for the container, codecs as the catalog has them.
CLIPS = {
    "h264-ts": ([*_H264, "-c:a", "aac"], "mpegts", "avc1.64001e,mp4a.40.2"),
    "noise-ts": (
        [*_H264, "-vf", "noise=alls=60:allf=t", "-b:v", "8M", "-c:a", "aac"],
        "mpegts",
        "avc1.64001e,mp4a.40.2",
    ),
    "h264-fmp4": ([*_H264, "-c:a", "aac"], "fmp4", "avc1.64001e,mp4a.40.2"),
    "hevc-fmp4": ([*_HEVC, "-c:a", "ac3"], "fmp4", "hvc1.1.6.L63.90,ac-3"),
    "picture": ([*_H264, "-an"], "fmp4", "avc1.64001e"),
    "aac": (["-vn", "-c:a", "aac"], "fmp4", "mp4a.40.2"),
    "ac3": (["-vn", "-c:a", "ac3"], "fmp4", "ac-3"),
}


def several_languages(*sounds):
    """A picture and, apart from it, its sounds, as the plan arranges several of them in fMP4."""
    renditions = [make_clip("picture")]
    for number, (kind, language) in enumerate(sounds, 1):
        renditions.append(
            replace(
                make_clip(kind),
                name=f"audio-{number}",
                kind=RenditionKind.AUDIO,
                language=language,
                width=0,
                height=0,
                frame_rate=0.0,
            )
        )
    return renditions


def clip_path(kind, duration_s=16):
    return CACHE / f"{kind}-{duration_s}.{CLIPS[kind][1]}"


def with_longer_segments(stream, count):
    """The same stream, with so many of its segments in one."""
    groups = [stream.cuts[at : at + count] for at in range(0, len(stream.cuts), count)]
    cuts = [
        (group[0][0], sum(cut[1] for cut in group), group[0][2], sum(cut[3] for cut in group))
        for group in groups
    ]
    return replace(stream, cuts=tuple(cuts))


def make_clip(kind, *, duration_s=16):
    """Make (once) a clip with ffmpeg, cut where its muxer starts anew; return it as a stream."""
    options, container, codecs = CLIPS[kind]
    path = clip_path(kind, duration_s)
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        inputs = ["-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={duration_s}"]
        inputs += ["-f", "lavfi", "-i", f"sine=f=440:r=48000:d={duration_s}"]
        output = ["-pix_fmt", "yuv420p", "-g", "50", "-sc_threshold", "0", "-f", *MUXERS[container]]
        unfinished = path.with_suffix(f".{os.getpid()}")
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", *inputs, *options, *output, str(unfinished)], check=True
        )
        unfinished.rename(path)
    data = path.read_bytes()
    if container == "mpegts":
        return _stream_of(data, _ts_starts(data), 0, codecs, duration_s)
    init_bytes, starts = _fmp4_starts(data)
    return _stream_of(data, starts, init_bytes, codecs, duration_s)


MUXERS = {
    "mpegts": ["mpegts", "-muxdelay", "0", "-muxpreload", "0"],
    "fmp4": [
        *("mp4", "-frag_duration", "2000000", "-movflags"),
        "+frag_keyframe+empty_moov+delay_moov+frag_discont+default_base_moof+skip_trailer",
    ],
}


def _stream_of(data, starts, init_bytes, codecs, duration_s):
    """Key frames are two seconds apart; what little sound comes after the pictures is the last one's."""
    starts = starts[: duration_s // 2]
    ends = [*starts[1:], len(data)]
    cuts = [
        (start, end - start, order * 2.0, 2.0)
        for order, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    return Stream(
        data=data,
        cuts=tuple(cuts),
        container=Container.FMP4 if init_bytes else Container.MPEGTS,
        init_bytes=init_bytes,
        codecs=codecs,
    )


def _ts_starts(data):
    """Where a PAT stands right before a key frame: PAT, PMT, then a packet with random access."""
    starts = []
    for at in range(0, len(data) - 3 * 188, 188):
        third = data[at + 2 * 188 : at + 3 * 188]
        is_pat = (data[at + 1] & 0x1F, data[at + 2]) == (0, 0)
        if is_pat and third[3] & 0x20 and third[4] and third[5] & 0x40 and third[1] & 0x40:
            starts.append(at)
    return [0, *starts[1:]]  # an SDT stands before the first PAT


def _fmp4_starts(data):
    """Where the initialization section ends, and where each moof begins."""
    at, init_bytes, starts = 0, 0, []
    while at < len(data):
        size, box = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if box == b"moof":
            starts.append(at)
        at += size
        if box == b"moov":
            init_bytes = at
    return init_bytes, starts


# --- a server ----------------------------------------------------------------------------------------


class FakeActions:
    """Records what the server asks for."""

    def __init__(self, catalog):
        self._catalog = catalog
        self.deleted = []
        self.reasons = []

    async def delete_video(self, video_id):
        self.deleted.append(video_id)
        await self._catalog.delete_video(video_id)
        return {"deleted": video_id}

    def debug(self):
        return {"version": "test"}

    def metrics(self):
        return b"tgsyncd_videos 0\n"

    def not_ready(self):
        return self.reasons


class Server:
    """A real server on loopback, with a real catalog and a store in memory."""

    def __init__(self, catalog, settings, *, clock=reactor, patience=None, make_engine=None):
        self.catalog = catalog
        self.store = MemoryStore()
        self.actions = FakeActions(catalog)
        if make_engine is None:
            patience = patience or Patience(first_delay_s=0.01, budget_s=5, lost_s=0)
            self.engine = Engine(catalog, self.store, clock, patience=patience)
        else:
            self.engine = make_engine(catalog, self.store)
        self.site = build_site(
            reactor=clock,
            reader=catalog,
            engine=self.engine,
            settings=settings,
            actions=self.actions,
        )
        self._listening = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.port = self._listening.getHost().port
        self.url = f"http://127.0.0.1:{self.port}"

    @classmethod
    async def start(cls, directory, settings=None, **more):
        catalog = await Catalog.open(directory / "catalog.db", reactor=reactor, clock=FixedClock())
        return cls(catalog, settings or ServerSettings(error_delay_s=0.0), **more)

    async def add(self, video_id, *streams, **more):
        return await store_video(self.catalog, self.store, video_id, streams, **more)

    async def stop(self):
        await self._listening.stopListening()
        for channel in list(self.site.connections):
            channel.transport.abortConnection()
        await self.engine.close()
        await self.catalog.close()


async def show(kinds, seconds):  # pragma: no cover - for trying players by hand
    """Serve clips for a while: ``python -m tests.playback.streams h264-ts hevc-fmp4``."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        server = await Server.start(Path(directory))
        for kind in kinds:
            await server.add(kind, make_clip(kind), document_bytes=500_000)
        await server.add("two", *several_languages(("aac", "en"), ("aac", "de")))
        await server.add("mixed", *several_languages(("ac3", "en"), ("aac", "de")))
        for video in server.catalog.videos():
            print(f"{server.url}/play/{video.video_id}", flush=True)
        await deferLater(reactor, seconds)
        await server.stop()


if __name__ == "__main__":
    import sys

    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(show(sys.argv[1:] or ["h264-ts", "h264-fmp4", "hevc-fmp4"], 600)))
