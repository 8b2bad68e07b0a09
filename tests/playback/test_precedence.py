# SPDX-License-Identifier: MIT
"""Playback goes before ingest: storing and reading back wait, for a while, while somebody waits for bytes."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from tests.playback.cached import Cached, result
from tgsyncd.model import DocumentLabel, VideoId
from tgsyncd.playback.keeping import GIVE_WAY_S, KeepingStore
from tgsyncd.playback.policy import shall_give_way

BIG = 4_000_000


@pytest.fixture
def cached(tmp_path):
    return Cached(tmp_path / "cache", disk_bytes=0, heads_bytes=0, ahead_s=0.0)


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document"
    path.write_bytes(b"stored")
    return path


def label():
    return DocumentLabel(
        library_id="0" * 16,
        video_id=VideoId("another"),
        revision=1,
        rendition="main",
        number=7,
        size_bytes=6,
        sha256="",
    )


def put(cached, document):
    return Deferred.fromCoroutine(KeepingStore(cached.store, cached.engine).put(document, label()))


def read_back(cached, ref):
    async def collect():
        chunks = KeepingStore(cached.store, cached.engine).open(ref, 0, ref.size_bytes)
        return b"".join([chunk async for chunk in chunks])

    return Deferred.fromCoroutine(collect())


def pass_time(cached, seconds):
    cached.clock.pump([0.25] * round(seconds / 0.25))


@pytest.mark.parametrize(
    ("waiting", "waited_s", "gives"), [(1, 0.0, True), (0, 0.0, False), (5, 9.9, True), (5, 10.0, False)]
)
def test_it_gives_way_to_who_waits_and_not_for_ever(waiting, waited_s, gives):
    """The limit holds however many they are."""
    assert shall_give_way(waiting=waiting, waited_s=waited_s, limit_s=10.0) is gives


def test_nothing_waits_while_nobody_does(cached, document):
    """Neither with no viewer nor with one who has what he wants."""
    film = cached.add_film([BIG] * 4)
    result(cached.read_segment(film, 2))
    ref = result(put(cached, document))
    assert result(read_back(cached, ref)) == b"stored"
    assert cached.report["ingest_waited_s"] == 0


def test_an_upload_begins_when_the_viewer_has_his_segment(cached, document):
    """And not while it is on its way."""
    film = cached.add_film([BIG] * 4)
    cached.store.hold()
    reading = cached.read_segment(film, 2)
    putting = put(cached, document)
    pass_time(cached, 3.0)
    assert cached.store.puts == []
    cached.store.release()
    assert result(reading) == film.bytes_of(2)
    pass_time(cached, 0.5)
    assert result(putting).size_bytes == 6
    assert 3.0 <= cached.report["ingest_waited_s"] <= 3.5


def test_reading_back_slows_down_and_comes_to_an_end(cached, document):
    """The viewer's store is down for long: the ingest waits its time and goes on."""
    film = cached.add_film([BIG] * 4)
    ref = cached.store.add(bytes(300_000))
    cached.store.hold()
    reading = cached.read_segment(film, 2)
    cached.store.gate = None  # for who comes now
    checking = read_back(cached, ref)
    pass_time(cached, GIVE_WAY_S - 1)
    assert not checking.called
    pass_time(cached, 2.0)
    assert result(checking) == bytes(300_000)
    assert not reading.called
    reading.cancel()
    assert result(reading) is not None


def test_an_ingest_that_is_cancelled_while_it_waits_is_gone(cached, document):
    """No timer of its stays."""
    film = cached.add_film([BIG] * 4)
    cached.store.hold()
    reading = cached.read_segment(film, 2)
    before = len(cached.clock.getDelayedCalls())
    putting = put(cached, document)
    assert len(cached.clock.getDelayedCalls()) == before + 1
    putting.cancel()
    assert result(putting) is not None
    assert len(cached.clock.getDelayedCalls()) == before
    cached.store.release()
    assert result(reading) == film.bytes_of(2)
    assert cached.store.puts == []


def test_pinning_for_the_ingest_itself_is_nobody_who_waits(cached, tmp_path, document):
    """Else a video would wait for another one's head, which waits for it."""
    pinning = Cached(tmp_path / "other", disk_bytes=0)
    film = pinning.add_film([BIG] * 4)
    pinning.store.hold()
    under_way = Deferred.fromCoroutine(pinning.engine.pin(film.rendition))
    pinning.store.gate = None  # for who comes now
    assert result(put(pinning, document)).size_bytes == 6
    under_way.cancel()
    assert result(under_way) is not None
