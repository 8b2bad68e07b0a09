# SPDX-License-Identifier: MIT
"""
Run ffmpeg once, cut what it writes, and hand documents to the uploader as they close.

Threads: each rendition's pipe has a thread of its own that reads, cuts, hashes and writes the spool; a full
spool is a pipe that is not read, and ffmpeg waits. Everything else happens on the reactor thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from tgsyncd.errors import FfmpegError
from tgsyncd.ingest.probe import explain_cut
from tgsyncd.ingest.pump import Pump, SkippedDocument, StreamFinished
from tgsyncd.ingest.upload import end_of
from tgsyncd.model import Segment, SpooledDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IReactorFromThreads

    from tgsyncd.ingest.cut import StreamEnd
    from tgsyncd.ingest.pump import PumpEvent
    from tgsyncd.ingest.spool import Spool
    from tgsyncd.ingest.upload import Uploader
    from tgsyncd.model import IngestPlan, RenditionPlan
    from tgsyncd.ports import CatalogWriter, Process, ProcessResult, ProcessRunner

__all__ = ["CutJob", "CutTarget", "run_in_thread"]

# Of all the time that a cut may take. A store that asks for a wait of three hours makes ffmpeg wait as well,
# so this only ends what nobody would wait for any more.
WALL_LIMIT_S = 7 * 86_400.0


@dataclass(slots=True, kw_only=True)
class CutTarget:
    """One rendition to be cut, and where in its stream to begin."""

    rendition_id: int
    plan: RenditionPlan
    expected: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    """Offset to size and sha256 of documents that are stored: hashed again, not stored again."""
    first_document_number: int = 0
    first_segment_order: int = 0
    base_offset: int = 0
    start_s: float = 0.0
    pending: list[Segment] = field(default_factory=list)
    reused_bytes: int = 0
    end: StreamEnd | None = None


class CutJob:
    """One run of ffmpeg over one source file."""

    def __init__(
        self,
        *,
        path: Path,
        reactor: IReactorFromThreads,
        runner: ProcessRunner,
        writer: CatalogWriter,
        spool: Spool,
        plan: IngestPlan,
        targets: Sequence[CutTarget],
        uploader: Uploader,
        on_stderr: Callable[[str], None],
        on_cut: Callable[[int], None],
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._runner = runner
        self._writer = writer
        self._spool = spool
        self._plan = plan
        self._targets = targets
        self._uploader = uploader
        self._on_stderr = on_stderr
        self._on_cut = on_cut
        self._process: Process | None = None

    async def run(self, argv: Sequence[str]) -> None:
        """
        Cut to the end and store everything; ``target.end`` then says how each stream ended.

        Raises:
            BytesDiffer: what ffmpeg writes is not what is stored.
            SourceDamaged, SourceUnreadable: ffmpeg gave up, with its last words.
            FfmpegError, SpaceError, StoreError: as their names say.

        """
        pumps: list[Pump] = []
        try:
            for target in self._targets:
                pumps.append(self._make_pump(target))  # noqa: PERF401  those made are closed if one cannot be
            self._process = self._runner.start(
                argv, pipes=len(pumps), wall_limit_s=WALL_LIMIT_S, on_stderr=self._on_stderr
            )
        except BaseException:
            for pump in pumps:
                pump.close()
            raise
        ended = [
            self._run_pump(pump, target, fd)
            for pump, target, fd in zip(pumps, self._targets, self._process.stdout_fds, strict=True)
        ]
        try:
            await end_of(DeferredList(ended))
            await self._check(await self._process.wait())
            for target in self._targets:
                await self._flush(target)
        finally:
            self.stop()
            # The threads hold files of the spool, which is removed next.
            await DeferredList(ended)

    def stop(self) -> None:
        """Kill ffmpeg and wake the pumps. What is stored stays stored."""
        if self._process is not None:
            self._process.kill()
        self._spool.cancel()

    async def _check(self, result: ProcessResult) -> None:
        """Wait for the uploads, and raise what went wrong first."""
        error = self._uploader.error
        if error is None or isinstance(error, FfmpegError):
            # ffmpeg's verdict first: a stream that breaks off is the consequence, not the cause.
            verdict = explain_cut(self._path, result)
            if verdict is not None:
                raise verdict
        await self._uploader.finish()

    def _make_pump(self, target: CutTarget) -> Pump:
        return Pump(
            container=target.plan.container,
            spool=self._spool,
            limits=self._plan.limits,
            target_s=self._plan.segment_target_s,
            name=target.plan.name,
            expected=target.expected,
            first_document_number=target.first_document_number,
            first_segment_order=target.first_segment_order,
            base_offset=target.base_offset,
            start_s=target.start_s,
        )

    def _run_pump(self, pump: Pump, target: CutTarget, fd: int) -> Deferred[None]:
        def emit(event: PumpEvent) -> None:
            self._reactor.callFromThread(self._on_event, target, event)

        done = run_in_thread(self._reactor, lambda: pump.run(fd, emit), name=f"cut {target.plan.name}")
        done.addErrback(self._uploader.note_failure)
        return done

    def _on_event(self, target: CutTarget, event: PumpEvent) -> None:
        match event:
            case Segment():
                target.pending.append(event)
                self._on_cut(event.size_bytes)
            case SkippedDocument():
                target.reused_bytes += event.size_bytes
            case SpooledDocument():
                self._uploader.deliver(
                    event,
                    rendition_id=target.rendition_id,
                    rendition=target.plan.name,
                    before_record=lambda: Deferred.fromCoroutine(self._flush(target)),
                    release=lambda: self._spool.release(event),
                )
            case StreamFinished():
                target.end = event.end

    async def _flush(self, target: CutTarget) -> None:
        """Record the segments seen so far: a resumed transcode goes on behind the last one recorded."""
        if target.pending:
            segments, target.pending = target.pending, []
            await self._writer.record_segments(target.rendition_id, segments)


def last_words(stderr: str) -> str:
    """Return the line of ffmpeg's standard error that says most: its last one with a message."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it gave no reason"


def run_in_thread(reactor: IReactorFromThreads, work: Callable[[], None], *, name: str) -> Deferred[None]:
    """
    Run ``work`` in a thread of its own and fire when it is done.

    Not in the reactor's pool: a pump may wait for hours, and the pool's ten threads also resolve names.
    """
    done: Deferred[None] = Deferred()

    def target() -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001  it goes on to whoever waits
            reactor.callFromThread(done.errback, Failure())
        else:
            reactor.callFromThread(done.callback, None)

    threading.Thread(target=target, name=name, daemon=True).start()
    return done
