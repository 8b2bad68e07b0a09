# SPDX-License-Identifier: MIT
"""
The pump: ffmpeg's pipe in, documents in the spool and segments out. Runs in a worker thread.

Every byte is read once, hashed twice (for its segment and for its document) and written once. What is
held in memory is what the packer has not settled: at most the last 15 % of a document and the chunk
just read, about 4 MB.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tgsyncd.errors import TgsyncdError
from tgsyncd.ingest.cut import make_cutter
from tgsyncd.ingest.pack import DocumentEnd, Packer, Packing, SegmentEnd
from tgsyncd.ingest.spool_directory import Spool, SpoolCancelled, SpoolFile
from tgsyncd.model import Container, CutPoint, PackLimits, Segment, SpooledDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tgsyncd.ingest.cut import StreamEnd

READ_BYTES = 1 << 18
"""Reads of 1 MiB are no faster, and cost 20 MB where a pipe has less to give: the rest is trimmed away."""

PIPE_BYTES = 1 << 20
"""The largest that an unprivileged process may ask for (/proc/sys/fs/pipe-max-size)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedDocument:
    """A document that is stored already: the same bytes at the same offset."""

    number: int
    offset: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFinished:
    """The stream has ended, and everything of it has been emitted. Offsets and times are the stream's."""

    end: StreamEnd


PumpEvent = SpooledDocument | SkippedDocument | Segment | StreamFinished


class BytesDiffer(TgsyncdError):
    """What ffmpeg writes now is not what is stored from an earlier run."""

    def __init__(self, number: int, offset: int) -> None:
        super().__init__(f"Document {number}, at byte {offset}, is not what an earlier run stored there.")
        self.number = number
        self.offset = offset


class Pump:
    """
    Move one stream from a pipe into a spool.

    ``expected`` maps offsets to size and sha256 of documents that are stored: those are made again, hashed
    and not written. When this run goes on behind what an earlier one stored, ``base_offset`` is where its
    bytes begin in the stream and ``start_s`` when its first segment starts there, whatever time ffmpeg gives
    it; that segment is a discontinuity.

    Raises
        ConfigError when the limits cannot be kept, or not with this spool.
    """

    def __init__(
        self,
        container: Container,
        spool: Spool,
        limits: PackLimits,
        target_s: float | None,
        name: str,
        *,
        expected: Mapping[int, tuple[int, str]] | None = None,
        first_document_number: int = 0,
        first_segment_order: int = 0,
        base_offset: int = 0,
        start_s: float = 0.0,
    ) -> None:
        self._cutter = make_cutter(container)
        self._packer = Packer(
            limits,
            target_s,
            first_document_number=first_document_number,
            first_segment_order=first_segment_order,
            base_offset=base_offset,
        )
        self._spool = spool
        self._name = name
        self._expected = dict(expected or {})
        self._first_order = first_segment_order
        self._base = base_offset
        self._start_s = start_s
        self._shift_s: float | None = None if base_offset else 0.0
        """What is added to ffmpeg's times; with a base known from the first cut point on."""

        self._tail: deque[memoryview] = deque()
        self._at = base_offset
        """Offset of the first byte in the tail."""
        self._document: SpoolFile | _StoredDocument | None = None
        self._segment_sha256 = hashlib.sha256()
        self._ends: deque[DocumentEnd] = deque()
        """Ends that are decided, of documents not yet closed."""
        # The disk writes a document out while the next one is cut and hashed: a thread beside.
        self._closing: deque[Future[None]] = deque()
        self._closer = ThreadPoolExecutor(1, thread_name_prefix=f"close {name}")
        self._is_cancelled = False
        self._waker = _Waker()
        self._promise = limits.document_max_bytes
        try:
            spool.join(self._promise, self._waker.wake)
        except BaseException:
            self._waker.close()
            raise

    def run(self, fd: int, emit: Callable[[PumpEvent], None]) -> None:
        """
        Read ``fd`` to its end and emit what becomes of it. Blocks; closes ``fd`` in every case. Once only.

        ``emit`` is called in this thread and in one beside it. Segments come once each, in order; documents
        likewise; which of the two comes first is not said. StreamFinished comes last.

        Raises
            FfmpegError (the stream makes no sense or breaks off), SpaceError, BytesDiffer, SpoolCancelled.
            Documents emitted before stay in the spool until they are released.
        """
        try:
            _enlarge_pipe(fd)
            self._spool.check_space()
            while data := self._read(fd):
                self._take(data, emit)
            self._finish(emit)
        except SpoolCancelled:
            # Woken because a document could not be closed: that is the reason to give.
            self._wait_for_closing(0)
            raise
        finally:
            os.close(fd)
            self.close()

    def close(self) -> None:
        """Free what the pump holds, when ``run`` is never called. Idempotent; ``run`` does it itself."""
        self._closer.shutdown(wait=True)
        if self._document is not None:
            self._document.discard()
            self._document = None
        self._tail.clear()
        if self._promise:
            self._spool.leave(self._promise, self._waker.wake)
            self._promise = 0
        self._waker.close()

    def cancel(self) -> None:
        """End ``run`` with SpoolCancelled, wherever it waits. From any thread; idempotent."""
        self._is_cancelled = True
        self._waker.wake()
        self._spool.wake()

    def _read(self, fd: int) -> bytes:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._waker.fileno(), select.POLLIN)
        if not self._stops():
            poll.poll()
        if self._stops():
            raise SpoolCancelled("The ingest was stopped.")
        return os.read(fd, READ_BYTES)

    def _take(self, data: bytes, emit: Callable[[PumpEvent], None]) -> None:
        cuts = self._cutter.feed(data)
        self._tail.append(memoryview(data))
        self._carry_out(self._packer.feed(self._base + self._cutter.known, self._in_stream(cuts)), emit)

    def _finish(self, emit: Callable[[PumpEvent], None]) -> None:
        end = self._cutter.finish()
        base, cuts = self._base, self._in_stream(end.late_cuts)
        shift_s = self._shift_s or 0.0
        end = replace(
            end,
            size_bytes=base + end.size_bytes,
            media_end=base + end.media_end,
            start_s=shift_s + end.start_s,
            end_s=shift_s + end.end_s,
            video_end_s=None if end.video_end_s is None else shift_s + end.video_end_s,
            late_cuts=(),
        )
        self._carry_out(self._packer.feed(base, cuts), emit)
        self._carry_out(self._packer.finish(end.media_end, end.end_s, end.size_bytes), emit)
        self._wait_for_closing(0)
        if self._expected:
            raise BytesDiffer(self._packer.document, min(self._expected))
        emit(StreamFinished(end=end))

    def _in_stream(self, cuts: Sequence[CutPoint]) -> list[CutPoint]:
        if not cuts:
            return []
        if self._shift_s is None:
            self._shift_s = self._start_s - cuts[0].pts_s
        base, shift_s = self._base, self._shift_s
        return [CutPoint(offset=base + cut.offset, pts_s=shift_s + cut.pts_s) for cut in cuts]

    # --- carrying out what the packer decided --------------------------------------------------------

    def _carry_out(self, packing: Packing, emit: Callable[[PumpEvent], None]) -> None:
        self._ends.extend(mark for mark in packing.marks if isinstance(mark, DocumentEnd))
        for mark in packing.marks:
            self._move_to(mark.offset)
            if isinstance(mark, SegmentEnd):
                emit(self._end_segment(mark))
            else:
                self._end_document(mark, emit)
        self._move_to(packing.settled)

    def _move_to(self, offset: int) -> None:
        """Write and hash the tail up to ``offset``."""
        while self._at < offset:
            chunk = self._tail.popleft()
            rest = chunk[offset - self._at :]
            if rest:
                chunk = chunk[: offset - self._at]
                self._tail.appendleft(rest)
            self._write(chunk)
            self._at += len(chunk)

    def _write(self, chunk: memoryview) -> None:
        if self._document is None:
            self._document = self._open()
        self._document.write(chunk)
        head = self._base + self._cutter.head_bytes - self._at
        self._segment_sha256.update(chunk[max(0, head) :])

    def _open(self) -> SpoolFile | _StoredDocument:
        stored = self._expected.pop(self._at, None)
        if stored is not None:
            return _StoredDocument(*stored)
        # The packer may be several documents ahead; of those that are decided the size is known.
        number, room = self._packer.document, self._packer.capacity
        if self._ends:
            number, room = self._ends[0].number, self._ends[0].offset - self._ends[0].start
        return self._spool.open_document(self._name, number, room, self._stops)

    def _stops(self) -> bool:
        return self._is_cancelled or self._spool.is_cancelled

    def _end_segment(self, mark: SegmentEnd) -> Segment:
        sha256 = self._segment_sha256.hexdigest()
        self._segment_sha256 = hashlib.sha256()
        return Segment(
            order=mark.order,
            offset=mark.start,
            size_bytes=mark.offset - mark.start,
            start_s=mark.start_s,
            duration_s=mark.duration_s,
            sha256=sha256,
            discontinuity=mark.order == self._first_order > 0,
        )

    def _end_document(self, mark: DocumentEnd, emit: Callable[[PumpEvent], None]) -> None:
        document, self._document = self._document, None
        self._ends.popleft()
        if isinstance(document, SpoolFile):
            # Two at a time: what is behind that is the disk's pace, and ffmpeg waits.
            self._wait_for_closing(1)
            self._closing.append(self._closer.submit(self._close_file, document, mark, emit))
        elif document is not None:
            emit(document.compare(mark))
        if any(mark.start < offset < mark.offset for offset in self._expected):
            raise BytesDiffer(mark.number, mark.start)

    def _close_file(self, document: SpoolFile, mark: DocumentEnd, emit: Callable[[PumpEvent], None]) -> None:
        try:
            size_bytes, sha256 = document.close()
        except BaseException:
            document.discard()
            self.cancel()
            raise
        emit(
            SpooledDocument(
                number=mark.number,
                offset=mark.start,
                size_bytes=size_bytes,
                sha256=sha256,
                path=document.path,
            )
        )

    def _wait_for_closing(self, at_most: int) -> None:
        while len(self._closing) > at_most:
            self._closing.popleft().result()


class _Waker:
    """A pipe that ends a poll from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_open = True

    def fileno(self) -> int:
        return self._read

    def wake(self) -> None:
        # Under the lock: a descriptor closed meanwhile may be somebody else's file by now.
        with self._lock:
            if self._is_open:
                with suppress(BlockingIOError):
                    os.write(self._write, b"x")

    def close(self) -> None:
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._read)
                os.close(self._write)


class _StoredDocument:
    """A document that an earlier run stored: hashed, to be compared, and not written."""

    def __init__(self, size_bytes: int, sha256: str) -> None:
        self._stored = (size_bytes, sha256)
        self._size = 0
        self._sha256 = hashlib.sha256()

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        self._sha256.update(data)

    def compare(self, mark: DocumentEnd) -> SkippedDocument:
        size_bytes, sha256 = self._size, self._sha256.hexdigest()
        if (size_bytes, sha256) != self._stored:
            raise BytesDiffer(mark.number, mark.start)
        return SkippedDocument(number=mark.number, offset=mark.start, size_bytes=size_bytes, sha256=sha256)

    def discard(self) -> None:
        """Nothing was made."""


def _enlarge_pipe(fd: int) -> None:
    """Make the pipe larger than its 64 KiB: fewer switches between ffmpeg and us."""
    # Refused when it is no pipe or the user's pages for pipes are used up: slower, not wrong.
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
