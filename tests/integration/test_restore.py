# SPDX-License-Identifier: MIT
"""Videos come back from the store as ordinary files: the same pictures and sounds, and what goes beside."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.clips import make_clip
from tests.integration.home import make_config, running, upload
from tgsyncd.assembly import process_limits
from tgsyncd.errors import DocumentCorrupt, NotFound, Refused
from tgsyncd.formats.remux import render_ffmetadata
from tgsyncd.maintenance.restore import Restorer
from tgsyncd.model import Chapter
from tgsyncd.processes import TwistedProcessRunner

CACHE = Path(__file__).parents[2] / ".cache" / "clips"


def restorer(app) -> Restorer:
    from dataclasses import replace

    limits = replace(process_limits(app.config), file_size_bytes=None)
    return Restorer(
        app.catalog, app.store.open, runner=TwistedProcessRunner(reactor, limits), in_thread=deferToThread
    )


def packets(path: Path, kind: str) -> list[str]:
    """Return the hash of the decoded frames of each stream of this kind (``v`` or ``a``)."""
    streams = probe(path)
    count = sum(each["codec_type"][0] == kind for each in streams)
    hashes = []
    for index in range(count):
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-map", f"0:{kind}:{index}"]
        answer = subprocess.run([*argv, "-f", "hash", "-"], capture_output=True, check=True, timeout=120)
        hashes.append(answer.stdout.decode().strip())
    return hashes


def probe(path: Path) -> list[dict]:
    argv = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_chapters", path]
    return json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)["streams"]


def chapters(path: Path) -> list[str]:
    argv = ["ffprobe", "-v", "error", "-of", "json", "-show_chapters", path]
    found = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)["chapters"]
    return [each["tags"]["title"] for each in found]


async def stored(app, clip: Path, folder: Path) -> Path:
    """Store a copy of the clip with a subtitle beside it."""
    source = Path(shutil.copy(clip, folder / f"Film{clip.suffix}"))
    source.with_suffix(".en.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nHello\n")
    (outcome,) = await upload(app, source)
    assert outcome.error is None, outcome.error
    return source


@pytest_twisted.ensureDeferred
async def test_a_stream_comes_back_byte_for_byte_and_as_a_matroska_file(tmp_path):
    """Decoded pictures are the source's; languages and what goes beside are there."""
    clip = await deferToThread(make_clip, "h264-two-audio", CACHE)
    async with running(make_config(tmp_path, verify="none"), listen=False) as app:
        source = await stored(app, clip, tmp_path)
        folder = tmp_path / "out"
        folder.mkdir()
        restored = await restorer(app).restore("film", folder)
        assert restored.path == folder / "Film.ts"
        (main,) = app.catalog.renditions("film", 1)
        documents = app.catalog.documents(main.rendition_id)
        whole = b"".join((app.config.store_dir / each.ref.file_unique_id).read_bytes() for each in documents)
        assert hashlib.sha256(restored.path.read_bytes()).digest() == hashlib.sha256(whole).digest()
        assert (folder / "Film.en.srt").read_bytes() == source.with_suffix(".en.srt").read_bytes()
        assert {path.name for path in folder.iterdir()} == {"Film.ts", "Film.en.srt", "Film-poster.jpg"}

        with pytest.raises(Refused, match="exists"):
            await restorer(app).restore("film", folder)
        made = await restorer(app).restore("film", folder / "new.mkv", sidecars=False)
        mine, theirs = await deferToThread(probe, made.path), await deferToThread(probe, source)
        assert [each["codec_name"] for each in mine] == [each["codec_name"] for each in theirs]
        sounds = [
            [s["tags"].get("language") for s in each if s["codec_type"] == "audio"] for each in (mine, theirs)
        ]
        assert sounds[0] == sounds[1]
        assert await deferToThread(packets, made.path, "v") == await deferToThread(packets, source, "v")
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["Film.ts", "Film.en.srt", "Film-poster.jpg", "new.mkv"]
        )


@pytest_twisted.ensureDeferred
async def test_picture_and_sounds_that_are_streams_of_their_own_become_one_file(tmp_path):
    """HEVC with two sound tracks: the stream alone would be a silent film."""
    clip = await deferToThread(make_clip, "hevc-two-audio", CACHE)
    async with running(make_config(tmp_path, verify="none"), listen=False) as app:
        source = await stored(app, clip, tmp_path)
        assert len(app.catalog.renditions("film", 1)) > 1
        with pytest.raises(Refused, match="streams of their own"):
            await restorer(app).restore("film", tmp_path / "x.bin", file_format="stream")
        made = await restorer(app).restore("film", tmp_path / "new.mp4")
        for kind in "va":
            assert await deferToThread(packets, made.path, kind) == await deferToThread(packets, source, kind)


@pytest_twisted.ensureDeferred
async def test_chapters_come_back_and_damage_leaves_nothing(tmp_path):
    """A document that reads back wrong is said, and no half file stays."""
    clip = await deferToThread(make_clip, "h264-chapters", CACHE)
    async with running(make_config(tmp_path, verify="none"), listen=False) as app:
        source = await stored(app, clip, tmp_path)
        made = await restorer(app).restore("film", tmp_path / "new.mkv")
        assert await deferToThread(chapters, made.path) == await deferToThread(chapters, source)

        (main,) = app.catalog.renditions("film", 1)
        path = app.config.store_dir / app.catalog.documents(main.rendition_id)[0].ref.file_unique_id
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        folder = tmp_path / "out"
        folder.mkdir()
        with pytest.raises(DocumentCorrupt, match="document 0 of main"):
            await restorer(app).restore("film", folder)
        assert list(folder.iterdir()) == []
        with pytest.raises(NotFound):
            await restorer(app).restore("other", folder)


def test_chapter_titles_are_escaped():
    """As ffmpeg's metadata text wants it."""
    text = render_ffmetadata(
        [Chapter(start_s=0.0, end_s=1.5, title="a=b;c#d\\e\nf"), Chapter(start_s=1.5, end_s=2)]
    )
    assert text == (
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=a\\=b\\;c\\#d\\\\e\\\nf\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=2000\n"
    )
