# SPDX-License-Identifier: MIT
"""Where a video is published when others want the same place, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tgsyncd.errors import PublishConflict
from tgsyncd.ingest.naming import choose_places, files_beside, read_name
from tgsyncd.ingest.publish import Publisher, PublishSettings


class Rows:
    """What the catalog knows of published files, and nothing else of it."""

    def __init__(self):
        self.files = {}

    def video(self, video_id):
        return None

    def published_files(self, video_id):
        return {path: sha for path, (owner, sha) in self.files.items() if owner == video_id}

    def publisher_of(self, path):
        return self.files.get(path, (None, ""))[0]

    async def record_published_file(self, video_id, path, sha256):
        self.files[path] = (video_id, sha256)

    async def forget_published_file(self, video_id, path):
        self.files.pop(path, None)


class Told:
    """A LibraryNotifier that remembers."""

    def __init__(self):
        self.calls = []

    async def notify(self, paths, *, removed=False):
        self.calls.append((sorted(path.name for path in paths), removed))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def publisher(told):
    rows = Rows()
    return Publisher(rows, rows, reactor, told)


def settings_in(tmp_path, **more):
    return PublishSettings(
        root=tmp_path / "out", source_root=tmp_path / "in", names="jellyfin", nfo=True, **more
    )


def places(tmp_path, name, **more):
    settings = settings_in(tmp_path, **more)
    source = tmp_path / "in" / name
    return choose_places(source, read_name(source, settings), settings)


@pytest_twisted.ensureDeferred
async def test_two_versions_that_are_ready_at_once_get_two_places(publisher, tmp_path):
    """Neither fails for the other."""
    settings = settings_in(tmp_path)

    def publish(video_id, name):
        base = publisher.base_of(video_id, places(tmp_path, name), settings)
        return Deferred.fromCoroutine(
            publisher.publish(video_id, base, {".strm": b"u", ".nfo": b"n"}, settings)
        )

    await gatherResults(
        [
            publish("one", "Film.1999.1080p.mkv"),
            publish("two", "Film.1999.2160p.mkv"),
            publish("three", "Film.1999.mkv"),
        ]
    )
    assert sorted(path.name for path in (tmp_path / "out" / "Film (1999)").glob("*.strm")) == [
        "Film (1999) - 2160p.strm",
        "Film (1999) [three].strm",
        "Film (1999).strm",
    ]


@pytest_twisted.ensureDeferred
async def test_a_published_video_stays_when_a_better_place_becomes_free(publisher, tmp_path):
    """Also where renamed sources are followed: its name has not changed."""
    settings = settings_in(tmp_path, follow=True)
    for video_id, name in (("one", "Film.1999.1080p.mkv"), ("two", "Film.1999.2160p.mkv")):
        base = publisher.base_of(video_id, places(tmp_path, name), settings)
        await publisher.publish(video_id, base, {".strm": b"u"}, settings)
    await publisher.withdraw("one")

    again = publisher.base_of("two", places(tmp_path, "Film.1999.2160p.mkv"), settings)
    assert again.name == "Film (1999) - 2160p"


@pytest_twisted.ensureDeferred
async def test_only_what_changed_is_told(publisher, told, tmp_path):
    """What is new, other or was missing; what is removed; nothing for the same once more."""
    settings = settings_in(tmp_path)
    base = publisher.base_of("one", places(tmp_path, "Film.1999.mkv"), settings)
    files = {".strm": b"u", ".nfo": b"n", "-poster.jpg": b"p"}
    await publisher.publish("one", base, files, settings)
    await publisher.publish("one", base, files, settings)
    await publisher.publish("one", base, {".strm": b"other", ".nfo": b"n"}, settings)
    Path(f"{base}.strm").unlink()
    await publisher.publish("one", base, {".strm": b"other", ".nfo": b"n"}, settings)
    await publisher.withdraw("one")

    name = "Film (1999)"
    assert told.calls == [
        ([f"{name}-poster.jpg", f"{name}.nfo", f"{name}.strm"], False),
        ([f"{name}-poster.jpg"], True),
        ([f"{name}.strm"], False),
        ([f"{name}.strm"], False),
        ([f"{name}.nfo", f"{name}.strm"], True),
    ]


@pytest_twisted.ensureDeferred
async def test_a_strm_of_somebody_else_is_refused(publisher, told, tmp_path):
    """And nothing is told."""
    settings = settings_in(tmp_path)
    base = publisher.base_of("one", places(tmp_path, "Film.1999.mkv"), settings)
    base.parent.mkdir(parents=True)
    Path(f"{base}.strm").write_bytes(b"theirs")
    with pytest.raises(PublishConflict):
        await publisher.publish("one", base, {".strm": b"u"}, settings)

    assert Path(f"{base}.strm").read_bytes() == b"theirs"
    assert told.calls == []


def test_mirrored_names_are_the_sources(tmp_path):
    """Whatever they say."""
    settings = PublishSettings(root=tmp_path / "out", source_root=tmp_path / "in")
    source = tmp_path / "in" / "a" / "Film.1999.mkv"
    assert choose_places(source, read_name(source, settings), settings) == [tmp_path / "out/a/Film.1999"]


def test_a_trailer_gets_no_nfo(tmp_path):
    """It would make the trailer the film."""
    settings = settings_in(tmp_path)
    name = read_name(tmp_path / "in" / "Film (1999)" / "Film (1999)-trailer.mkv", settings)
    assert ".nfo" not in files_beside({}, name, settings)
