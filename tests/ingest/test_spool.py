# SPDX-License-Identifier: MIT
"""
The spool and the pump, with real pipes and threads. A thread that waits is waited for by what it does
next, never by time; what would hang is ended by the run's own limit.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ingest.cut_clips import RECIPES, clip, container, decode_errors
from tgsyncd.errors import ConfigError, FfmpegError, SpaceError, TgsyncdError
from tgsyncd.ingest import spool_directory
from tgsyncd.ingest.spool import (
    BytesDiffer,
    Pump,
    SkippedDocument,
    Spool,
    SpoolCancelled,
    StreamFinished,
)
from tgsyncd.model import Container, PackLimits, Segment, SpooledDocument

SMALL = PackLimits(document_max_bytes=20_000, first_documents_bytes=(4_000, 8_000))


class Result:
    """What a pump emitted, with the documents' bytes read at once."""

    def __init__(self) -> None:
        self.events: list = []
        self.stored: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def emit_and_release(self, spool):
        def emit(event):
            with self._lock:
                self.events.append(event)
            if isinstance(event, SpooledDocument):
                self.stored[event.offset] = event.path.read_bytes()
                spool.release(event)

        return emit

    @property
    def segments(self):
        return self.of(Segment)

    @property
    def end(self):
        return self.events[-1].end


def feed_pipe(data: bytes, piece: int = 10_007) -> int:
    """Return the read end of a pipe into which a thread writes ``data``."""
    read, write = os.pipe()

    def work():
        try:
            for start in range(0, len(data), piece):
                os.write(write, data[start : start + piece])
        except BrokenPipeError:
            pass
        finally:
            os.close(write)

    threading.Thread(target=work, daemon=True).start()
    return read


def pump_all(data: bytes, kind: Container, spool: Spool, **options) -> Result:
    result = Result()
    pump = Pump(kind, spool, options.pop("limits", SMALL), options.pop("target_s", 2.0), "main", **options)
    pump.run(feed_pipe(data), result.emit_and_release(spool))
    return result


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", limit_bytes=100_000, reserve_bytes=0)


@pytest.mark.parametrize("name", RECIPES)
def test_documents_joined_are_the_pipes_bytes_and_segments_are_ranges_of_them(name, spool):
    """For every container and codec; hashes are those of the bytes; all times join up."""
    data = clip(name).read_bytes()
    result = pump_all(data, container(name), spool)
    documents = result.of(SpooledDocument)
    assert b"".join(result.stored[document.offset] for document in documents) == data
    for document in documents:
        stored = result.stored[document.offset]
        assert document.size_bytes == len(stored) <= SMALL.document_max_bytes
        assert document.sha256 == hashlib.sha256(stored).hexdigest()
        assert document.path.name.startswith(f"main-{document.number:05d}-")
    assert [document.number for document in documents] == list(range(len(documents)))
    segments = result.segments
    for segment in segments:
        assert segment.sha256 == hashlib.sha256(data[segment.offset : segment.end]).hexdigest()
    assert segments[0].offset == result.end.init_bytes
    assert segments[-1].end == result.end.media_end
    assert all(one.end == other.offset for one, other in pairwise(segments))
    total = sum(segment.duration_s for segment in segments)
    assert total == pytest.approx(result.end.end_s - result.end.start_s)
    assert isinstance(result.events[-1], StreamFinished)
    assert len(result.of(StreamFinished)) == 1


@pytest.mark.parametrize("name", ["h264-closed.ts", "h264-pyramid.ts", "h264.mp4", "hevc.mp4"])
def test_every_segment_decodes_alone(name, spool):
    """Behind the initialization section, where there is one."""
    data = clip(name).read_bytes()
    result = pump_all(data, container(name), spool)
    assert len(result.segments) >= 3
    for segment in result.segments:
        assert decode_errors(result.end.init_section + data[segment.offset : segment.end]) == ""


def test_nothing_is_left_when_all_is_released(spool, tmp_path):
    """No file, no room taken, no descriptor."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    pump_all(clip("h264.mp4").read_bytes(), Container.FMP4, spool)
    assert spool.used_bytes == 0
    assert list((tmp_path / "spool").iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_full_spool_stops_the_writer_until_something_is_released(tmp_path):
    """It never holds more than its limit, and goes on when documents are stored."""
    spool = Spool(tmp_path, limit_bytes=45_000, reserve_bytes=0)
    data = clip("h264-one-key.ts").read_bytes()
    waiting, sizes = [], []
    arrived = threading.Semaphore(0)

    def emit(event):
        if isinstance(event, SpooledDocument):
            waiting.append(event)
            arrived.release()

    pump = Pump(Container.MPEGTS, spool, SMALL, 6.0, "main")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pump.run, feed_pipe(data), emit)
        running.add_done_callback(lambda _: arrived.release())
        while arrived.acquire() and waiting:
            on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
            sizes.append(on_disk)
            assert on_disk <= 45_000
            assert spool.used_bytes <= 45_000
            spool.release(waiting.pop(0))
        running.result()
    assert len(sizes) > 5


def test_several_pumps_share_a_spool_that_holds_one_document_of_each(tmp_path):
    """One writer that writes both pipes in turn, as ffmpeg does: nobody waits for ever."""
    spool = Spool(tmp_path, limit_bytes=2 * SMALL.document_max_bytes, reserve_bytes=0)
    data = clip("h264-closed.ts").read_bytes()
    pipes = [os.pipe(), os.pipe()]
    results = [Result(), Result()]
    pumps = [Pump(Container.MPEGTS, spool, SMALL, 6.0, name) for name in ("a", "b")]

    def write():
        for start in range(0, len(data), 5000):
            for _, end in pipes:
                os.write(end, data[start : start + 5000])
        for _, end in pipes:
            os.close(end)

    with ThreadPoolExecutor(3) as threads:
        running = [
            threads.submit(pump.run, read, result.emit_and_release(spool))
            for pump, (read, _), result in zip(pumps, pipes, results, strict=True)
        ]
        running.append(threads.submit(write))
        for future in running:
            future.result()
    for result in results:
        assert b"".join(result.stored[offset] for offset in sorted(result.stored)) == data


def test_a_spool_too_small_for_another_pump_says_so(tmp_path):
    """Rather than letting two pumps wait for each other."""
    spool = Spool(tmp_path, limit_bytes=39_999, reserve_bytes=0)
    first = Pump(Container.MPEGTS, spool, SMALL, 6.0, "a")
    with pytest.raises(ConfigError, match="40,000"):
        Pump(Container.MPEGTS, spool, SMALL, 6.0, "b")
    first.close()
    Pump(Container.MPEGTS, spool, SMALL, 6.0, "b").close()


@pytest.mark.parametrize("cancel", ["pump", "spool"])
def test_cancelling_ends_a_pump_that_waits_for_ffmpeg(cancel, spool):
    """Its pipe is open and silent."""
    read, write = os.pipe()
    pump = Pump(Container.MPEGTS, spool, SMALL, 6.0, "main")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pump.run, read, lambda event: None)
        (pump if cancel == "pump" else spool).cancel()
        with pytest.raises(SpoolCancelled):
            running.result()
    with pytest.raises(BrokenPipeError):
        os.write(write, b"x")
    os.close(write)


@pytest.mark.parametrize("cancel", ["pump", "spool"])
def test_cancelling_ends_a_pump_that_waits_for_room(cancel, tmp_path):
    """Nobody releases anything."""
    spool = Spool(tmp_path, limit_bytes=20_000, reserve_bytes=0)
    pump = Pump(Container.MPEGTS, spool, SMALL, 6.0, "main")
    stored = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        read = feed_pipe(clip("h264-closed.ts").read_bytes())
        running = threads.submit(pump.run, read, lambda event: stored.set())
        stored.wait()
        (pump if cancel == "pump" else spool).cancel()
        with pytest.raises(SpoolCancelled):
            running.result()


def expected_of(result: Result) -> dict[int, tuple[int, str]]:
    return {
        document.offset: (document.size_bytes, document.sha256) for document in result.of(SpooledDocument)
    }


def test_what_is_stored_already_is_compared_and_not_written(spool):
    """A second run emits the same segments, and writes only the documents that are missing."""
    data = clip("h264.mp4").read_bytes()
    first = pump_all(data, Container.FMP4, spool)
    expected = expected_of(first)
    missing = sorted(expected)[2]
    del expected[missing]
    second = pump_all(data, Container.FMP4, spool, expected=expected)
    assert second.segments == first.segments
    assert {event.offset: (event.size_bytes, event.sha256) for event in second.of(SkippedDocument)} == (
        expected
    )
    assert [event.offset for event in second.of(SpooledDocument)] == [missing]


@pytest.mark.parametrize(
    "change",
    [
        lambda expected: expected.update({0: (expected[0][0], "0" * 64)}),
        lambda expected: expected.update({0: (expected[0][0] + 1, expected[0][1])}),
        lambda expected: expected.update({1234: (5, "0" * 64)}),
        lambda expected: expected.update({10**9: (5, "0" * 64)}),
    ],
    ids=["bytes", "size", "offset", "behind the end"],
)
def test_bytes_that_differ_from_what_is_stored_are_noticed(change, spool):
    """Whether in content, in size or in where documents begin."""
    data = clip("h264-closed.ts").read_bytes()
    expected = expected_of(pump_all(data, Container.MPEGTS, spool))
    change(expected)
    with pytest.raises(BytesDiffer):
        pump_all(data, Container.MPEGTS, spool, expected=expected)
    assert spool.used_bytes == 0


def test_a_run_that_goes_on_continues_numbers_offsets_and_times(spool):
    """Its first segment starts when it should, whatever ffmpeg's clock says, and is a discontinuity."""
    result = pump_all(
        clip("h264-closed.ts").read_bytes(),
        Container.MPEGTS,
        spool,
        first_document_number=7,
        first_segment_order=3,
        base_offset=1_000_000,
        start_s=18.0,
    )
    first, *others = result.segments
    assert (first.order, first.offset, first.start_s) == (3, 1_000_000, 18.0)
    assert first.discontinuity
    assert not any(segment.discontinuity for segment in others)
    assert result.of(SpooledDocument)[0].number == 7
    assert result.of(SpooledDocument)[0].offset == 1_000_000
    total = sum(segment.duration_s for segment in result.segments)
    assert result.end.end_s == pytest.approx(18.0 + total)
    assert result.end.start_s == pytest.approx(18.0)


def test_an_error_in_the_stream_leaves_only_what_was_emitted(spool, tmp_path):
    """The document that was being filled is given up."""
    data = clip("h264-closed.ts").read_bytes()
    result = Result()
    pump = Pump(Container.MPEGTS, spool, SMALL, 2.0, "main")
    with pytest.raises(FfmpegError):
        pump.run(feed_pipe(data[:50_000]), lambda event: result.events.append(event))
    left = set((tmp_path / "spool").iterdir())
    assert left == {event.path for event in result.of(SpooledDocument)}
    assert spool.used_bytes == sum(event.size_bytes for event in result.of(SpooledDocument))


def test_too_little_free_space_is_refused_with_the_numbers(tmp_path):
    """Before a byte is read."""
    spool = Spool(tmp_path, reserve_bytes=10**18)
    with pytest.raises(SpaceError, match=rf"(?s){tmp_path}.*1,000,000,000,000,000,000"):
        pump_all(b"", Container.MPEGTS, spool)


def test_space_that_runs_out_on_the_way_is_an_error_too(spool, monkeypatch):
    """Another program fills the disk while we cut."""
    answers = iter([10**9, 10**9])
    monkeypatch.setattr(
        spool_directory.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(answers, 0))
    )
    with pytest.raises(SpaceError):
        pump_all(clip("h264-closed.ts").read_bytes(), Container.MPEGTS, spool)
    assert spool.used_bytes == 0


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_a_space_error(call, spool, monkeypatch):
    """Whether it shows in write() or only in fsync(), which happens in another thread."""
    real_write = os.write

    def fail(fd, *data):
        if call == "write" and len(data[0]) < 2:
            return real_write(fd, *data)
        raise OSError(errno.ENOSPC, "No space left on device")

    read = feed_pipe(clip("h264-closed.ts").read_bytes())
    pump = Pump(Container.MPEGTS, spool, SMALL, 2.0, "main")
    monkeypatch.setattr(spool_directory.os, call, _only_in_spool(call, fail))
    with pytest.raises(SpaceError):
        pump.run(read, lambda event: None)


def test_a_document_that_cannot_be_closed_ends_a_pump_that_waits_for_ffmpeg(spool, monkeypatch):
    """The pipe stays open and silent: nothing else would ever end it."""

    def fail(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool_directory.os, "fsync", _only_in_spool("fsync", fail))
    read, write = os.pipe()
    pump = Pump(Container.MPEGTS, spool, SMALL, 2.0, "main")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pump.run, read, lambda event: None)
        os.write(write, clip("h264-closed.ts").read_bytes()[:30_000])
        with pytest.raises(TgsyncdError, match="Input/output error"):
            running.result()
    os.close(write)
    assert spool.used_bytes == 0


def test_a_cancelled_spool_ends_a_pump_before_it_reads(spool):
    """Cancelled between ffmpeg's start and the pump's."""
    spool.cancel()
    read, write = os.pipe()
    with pytest.raises(SpoolCancelled):
        Pump(Container.MPEGTS, spool, SMALL, 2.0, "main").run(read, lambda event: None)
    os.close(write)


def _only_in_spool(call, fail):
    real = getattr(os, call)

    def choose(fd, *rest):
        target = Path(f"/proc/self/fd/{fd}").readlink()
        return fail(fd, *rest) if target.suffix == ".document" else real(fd, *rest)

    return choose


def test_leftovers_are_swept_at_the_start_and_nothing_else(tmp_path):
    """A kill leaves documents; they are cut again."""
    (tmp_path / "main-00000-0.document").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("mine")
    Spool(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_document_released_twice_counts_once(spool):
    """The second time there is nothing to do."""
    documents = []
    pump = Pump(Container.MPEGTS, spool, PackLimits(document_max_bytes=90_000), 2.0, "main")
    data = clip("sound.ts").read_bytes()[: 188 * 400]
    pump.run(feed_pipe(data), lambda event: documents.append(event))
    document = next(event for event in documents if isinstance(event, SpooledDocument))
    spool.release(document)
    spool.release(document)
    assert spool.used_bytes == 0
