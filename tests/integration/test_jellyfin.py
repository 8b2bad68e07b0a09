# SPDX-License-Identifier: MIT
"""From a folder of videos to a Jellyfin library: names, .nfo, artwork, subtitles, and the calls."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.fakes.jellyfin_server import JellyfinServer
from tests.integration.home import make_config, running, upload
from tests.integration.test_ingest import CACHE, make_clip
from tests.service.running import Daemon

KODI = b"<?xml version='1.0'?>\n<movie><title>As Kodi has it</title><plot>Long.</plot></movie>\n"
UPDATED = "POST /Library/Media/Updated"


@pytest.fixture
def source(tmp_path):
    """A folder whose videos are all the same small clip, told apart by some bytes behind their end."""
    root = tmp_path / "source"
    clip = make_clip("h264-aac", CACHE).read_bytes()

    def add(name: str, *beside: tuple[str, bytes]) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # An MP4 "free" box, whose contents nobody reads.
        path.write_bytes(clip + (8 + len(name)).to_bytes(4, "big") + b"free" + name.encode("ascii"))
        for other, data in beside:
            (path.parent / other).write_bytes(data)
        return path

    root.mkdir()
    add.root = root
    return add


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def settings(tmp_path: Path, *, jellyfin: dict | None = None, **library) -> dict:
    films = {"name": "Films", "source": tmp_path / "source", "publish": tmp_path / "films", **library}
    return {"libraries": [films], **({"jellyfin": jellyfin} if jellyfin else {})}


@pytest_twisted.ensureDeferred
async def test_a_library_under_jellyfins_names(tmp_path, source):
    """Films, versions, parts, extras, episodes; what is unclear keeps its name."""
    for name in (
        "The.Film.1999.1080p.BluRay.x264-GRP/the.film.1999.1080p.mp4",
        "The.Film.1999.2160p.mp4",
        "Long Film (2000) CD1.mp4",
        "Long Film (2000) CD2.mp4",
        "The Film (1999)/Extras/Making of.mp4",
        "Show/Season 1/show.s01e02e03.mp4",
        "Holidays/Day 1.mp4",
    ):
        source(name)
    async with running(make_config(tmp_path, **settings(tmp_path, names="jellyfin")), listen=False) as app:
        outcomes = await upload(app, source.root)
        again = await upload(app, source.root)

    assert [outcome.error for outcome in [*outcomes, *again]] == [None] * 14
    strms = [name for name in tree(tmp_path / "films") if name.endswith(".strm")]
    assert sorted(strms) == [
        "Holidays/Day 1.strm",
        "Long Film (2000)/Long Film (2000) - Part One.strm",
        "Long Film (2000)/Long Film (2000) - Part Two.strm",
        "Show/Season 01/Show S01E02-E03.strm",
        "The Film (1999)/The Film (1999) - 2160p.strm",
        "The Film (1999)/The Film (1999).strm",
        "The Film (1999)/extras/Making of.strm",
    ]


@pytest_twisted.ensureDeferred
async def test_what_stands_beside_comes_along_and_is_stored(tmp_path, source):
    """Existing .nfo, artwork and subtitles; and all of it can be published again without the source."""
    source(
        "Film (1999)/Film (1999).mp4",
        ("Film (1999).nfo", KODI),
        ("poster.png", b"PNG poster"),
        ("fanart.jpg", b"JPG fanart"),
        ("Film (1999).de.forced.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHallo\n"),
        ("Other film.en.srt", b"not ours"),
    )
    async with running(make_config(tmp_path, **settings(tmp_path)), listen=False) as app:
        await upload(app, source.root)
        first = tree(tmp_path / "films")
        shutil.rmtree(tmp_path / "films")
        shutil.rmtree(source.root / "Film (1999)")
        video = app.catalog.videos()[0]
        path = Path(video.source_path)
        from tgsyncd.daemon import UploadOptions

        await app.pipeline.publish_files(video, 1, path, app.ingest_options(path, UploadOptions()))
        second = tree(tmp_path / "films")

    strm = first.pop("Film (1999)/Film (1999).strm")
    assert first == {
        "Film (1999)/Film (1999).nfo": KODI,
        "Film (1999)/Film (1999)-poster.png": b"PNG poster",
        "Film (1999)/Film (1999)-fanart.jpg": b"JPG fanart",
        "Film (1999)/Film (1999).de.forced.srt": b"1\n00:00:01,000 --> 00:00:02,000\nHallo\n",
    }
    assert second == {**first, "Film (1999)/Film (1999).strm": strm}


@pytest_twisted.ensureDeferred
async def test_without_artwork_and_nfo_both_are_made(tmp_path, source):
    """A still as a film's poster and as an episode's thumb; title and numbers in the .nfo."""
    source("Film (1999).mp4", ("Film (1999).nfo", b"\xdb\xdb R E L E A S E \xdb\xdb"))
    source("Show/Season 1/Show S01E02 - The Name.mp4")
    async with running(make_config(tmp_path, **settings(tmp_path)), listen=False) as app:
        await upload(app, source.root)

    found = tree(tmp_path / "films")
    assert sorted(found) == [
        "Film (1999)-poster.jpg",
        "Film (1999).nfo",
        "Film (1999).strm",
        "Show/Season 1/Show S01E02 - The Name-thumb.jpg",
        "Show/Season 1/Show S01E02 - The Name.nfo",
        "Show/Season 1/Show S01E02 - The Name.strm",
    ]
    assert b"<title>Film</title>\n  <year>1999</year>" in found["Film (1999).nfo"]
    assert b"<title>The Name</title>" in found["Show/Season 1/Show S01E02 - The Name.nfo"]


@pytest_twisted.ensureDeferred
async def test_what_jellyfin_wrote_is_left_alone(tmp_path, source):
    """Its own .nfo, when it is told to save such, is not ours and stops no publishing."""
    source("Film (1999).mp4")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "Film (1999).nfo").write_bytes(KODI)
    async with running(make_config(tmp_path, **settings(tmp_path)), listen=False) as app:
        (outcome,) = await upload(app, source.root)
        await app.delete_video(outcome.outcome.video_id)

    assert outcome.error is None
    assert tree(tmp_path / "films") == {"Film (1999).nfo": KODI}


@pytest_twisted.ensureDeferred
async def test_jellyfin_is_told_by_its_own_paths(tmp_path, source):
    """One call for all that an upload published, one for what was deleted, none for what did not change."""
    source("Film (1999).mp4")
    source("Other (2000).mp4")
    jellyfin = JellyfinServer(reactor)
    await jellyfin.start()
    there = {"url": jellyfin.url, "api_key": jellyfin.api_key}
    config = make_config(tmp_path, **settings(tmp_path, jellyfin=there, jellyfin_path="/media/films"))
    try:
        async with running(config, listen=False) as app:
            outcomes = await upload(app, source.root)
        async with running(config, listen=False) as app:
            await upload(app, source.root)
        async with running(config, listen=False) as app:
            await app.delete_video(outcomes[0].outcome.video_id)
    finally:
        await jellyfin.stop()

    assert jellyfin.calls == [UPDATED, UPDATED]
    assert jellyfin.updates() == [
        [
            {"Path": "/media/films/Film (1999).strm", "UpdateType": "Modified"},
            {"Path": "/media/films/Other (2000).strm", "UpdateType": "Modified"},
        ],
        [{"Path": "/media/films/Film (1999).strm", "UpdateType": "Deleted"}],
    ]


@pytest_twisted.ensureDeferred
async def test_a_jellyfin_that_is_down_delays_no_upload(tmp_path, source):
    """Nor does it fail one."""
    source("Film (1999).mp4")
    there = {"url": "http://127.0.0.1:9", "api_key": "k"}
    async with running(make_config(tmp_path, **settings(tmp_path, jellyfin=there)), listen=False) as app:
        (outcome,) = await upload(app, source.root)

    assert outcome.error is None
    assert outcome.outcome.strm.exists()


@pytest_twisted.ensureDeferred
async def test_a_daemon_tells_a_jellyfin_that_was_down_after_a_kill(tmp_path, source):
    """Published while Jellyfin was down; killed; the next daemon tells it, by the paths of its container."""
    jellyfin = JellyfinServer(reactor)
    await jellyfin.start()
    port, url = jellyfin.port, jellyfin.url
    await jellyfin.stop()
    key = tmp_path / "key"
    key.write_text(jellyfin.api_key)
    key.chmod(0o600)
    library = {"name": "Films", "source": "source", "publish": "library", "jellyfin_path": "/media/films"}
    (tmp_path / "home").mkdir()
    daemon = Daemon(tmp_path / "home", libraries=[library], jellyfin={"url": url, "api_key_file": str(key)})
    try:
        shutil.copy(source("Film (1999).mp4"), daemon.source)
        daemon.start()
        await deferToThread(daemon.ready)
        await deferToThread(daemon.wait_for_strms, "Film (1999).strm")
        await deferToThread(daemon.wait_for_log, "Jellyfin at .* does not answer.*told later")
        await deferToThread(daemon.stop, signal.SIGKILL)

        await jellyfin.start(port)
        daemon.start()
        await jellyfin.arrived(1)
        assert await deferToThread(daemon.stop) == 0
    finally:
        daemon.close()
        await jellyfin.stop()

    assert jellyfin.calls == [UPDATED]
    assert jellyfin.updates() == [[{"Path": "/media/films/Film (1999).strm", "UpdateType": "Modified"}]]
    kept = json.loads((daemon.data / "jellyfin-state.json").read_text())
    assert (kept["pending"], kept["wanted"]) == ({}, ["/media/films/Film (1999).strm"])
    assert "Traceback" not in daemon.text()
