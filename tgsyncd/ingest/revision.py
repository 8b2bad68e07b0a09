# SPDX-License-Identifier: MIT
"""Probe, plan, cut, upload, read back: one revision of one video."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.errors import ConfigError, DocumentCorrupt, DocumentMissing, SourceChanged
from tgsyncd.formats.ffmpeg import build_cut_argv, parse_progress
from tgsyncd.ingest.cutting import CutJob, CutTarget
from tgsyncd.ingest.extras import extract_extras, store_extras
from tgsyncd.ingest.plan import plan_ingest
from tgsyncd.ingest.probe import check_complete, probe_source, shown_name
from tgsyncd.ingest.pump import BytesDiffer
from tgsyncd.ingest.resume import Restart, choose_restart, describe_rendition
from tgsyncd.ingest.scan import is_unchanged
from tgsyncd.ingest.sidecars import add_sidecars
from tgsyncd.ingest.spool import Spool
from tgsyncd.ingest.upload import Uploader
from tgsyncd.ingest.verify import read_back, shall_verify
from tgsyncd.ingest.work import Progress
from tgsyncd.model import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tgsyncd.ingest.probe import FfmpegVersion
    from tgsyncd.ingest.work import Tools
    from tgsyncd.model import IngestPlan, MediaProbe, Revision, SourceIdentity, VideoId

__all__ = ["RevisionIngest"]

_log = Logger()


class RevisionIngest:
    """
    One revision on its way from wherever it is to verified.

    A second run after a kill at any point looks at the catalog, cuts again from the start and stores only
    what is missing.
    """

    def __init__(
        self,
        tools: Tools,
        video_id: VideoId,
        number: int,
        identity: SourceIdentity,
        on_progress: Callable[[Progress], None],
        *,
        ffmpeg: FfmpegVersion,
    ) -> None:
        self._ffmpeg = ffmpeg
        self._reactor = tools.reactor
        self._reader = tools.reader
        self._writer = tools.writer
        self._store = tools.store
        self._runner = tools.runner
        self._settings = tools.settings
        self.video_id = self._video_id = video_id
        self.number = self._number = number
        self._identity = identity
        self._path = Path(identity.path)
        self._on_progress = on_progress
        self._progress = Progress(video_id=video_id, path=self._path, stage="probe")
        self._spool_folder = tools.settings.spool_root / f"{video_id}.{number}"

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return self._progress

    async def run(self) -> IngestPlan:
        """
        Bring the revision to verified; return its plan.

        Raises SourceError, FfmpegError, SpaceError, StoreError and their children.
        """
        try:
            plan = await self._store_missing()
            try:
                await self._verify_rest()
            except (DocumentCorrupt, DocumentMissing) as error:
                # A killed run stored it, and it is forgotten now: it is cut and stored again.
                _log.warn("{video_id}: {error}; it is stored again", video_id=self._video_id, error=error)
                plan = await self._store_missing()
                await self._verify_rest()
            await self._writer.record_stage(self._video_id, self._number, Stage.VERIFIED)
        finally:
            # What was cut and not stored is cut again: the bytes come out the same.
            await deferToThreadPool(
                self._reactor,
                self._reactor.getThreadPool(),
                lambda: shutil.rmtree(self._spool_folder, ignore_errors=True),
            )
        return plan

    async def _store_missing(self) -> IngestPlan:
        revision = self._current()
        if revision.plan is None or revision.stage in {Stage.FOUND, Stage.PROBED}:
            return await self._store_all(revision.plan)
        return revision.plan

    async def _store_all(self, known: IngestPlan | None) -> IngestPlan:
        probe, plan = await self._probe_and_plan(known)
        await self._store_streams(probe, plan)
        await self._store_extras(probe, plan)
        if not is_unchanged(self._identity):
            raise SourceChanged(
                f"{self._path} changed while it was read", hint="upload it again when it is whole"
            )
        await self._writer.record_stage(self._video_id, self._number, Stage.STORED)
        return plan

    def _current(self) -> Revision:
        revision = self._reader.revision(self._video_id, self._number)
        if revision is None:
            raise ConfigError(f"{self._video_id} was deleted while it was ingested")
        return revision

    async def _probe_and_plan(self, known: IngestPlan | None) -> tuple[MediaProbe, IngestPlan]:
        """Probe; plan, unless an earlier run did: its plan decides, so that the same bytes come out."""
        self.show(stage="probe")
        probe = await probe_source(self._path, self._runner)
        if known is not None:
            return probe, known
        plan = plan_ingest(probe, self._settings.plan, ffmpeg_version=await self._ffmpeg.get())
        for left in plan.left_out:
            _log.info(
                "{video_id}: {what} is left out: {why}",
                video_id=self._video_id,
                what=left.what,
                why=left.why,
            )
        await self._writer.record_plan(self._video_id, self._number, plan)
        return probe, plan

    async def _store_streams(self, probe: MediaProbe, plan: IngestPlan) -> None:
        targets = [await self._target(plan, index) for index in range(len(plan.renditions))]
        if not any(self._was_continued(target) for target in targets):
            try:
                await self._cut(probe, plan, targets)
            except BytesDiffer:
                pass  # Another ffmpeg, or an encoder that is not deterministic.
            else:
                return
        targets, restart = await self._restart(probe, plan, targets)
        await self._cut(probe, plan, targets, restart)

    def _was_continued(self, target: CutTarget) -> bool:
        """Tell whether an earlier run went on in the middle: from the start its bytes never come again."""
        documents = self._reader.documents(target.rendition_id)
        return any(document.length != document.ref.size_bytes for document in documents)

    async def _target(self, plan: IngestPlan, index: int) -> CutTarget:
        rendition = plan.renditions[index]
        rendition_id = await self._writer.create_rendition(self._video_id, self._number, rendition)
        stored = self._reader.documents(rendition_id)
        return CutTarget(
            rendition_id=rendition_id,
            plan=rendition,
            expected={document.offset: (document.length, document.ref.sha256) for document in stored},
        )

    async def _restart(
        self, probe: MediaProbe, plan: IngestPlan, targets: Sequence[CutTarget]
    ) -> tuple[list[CutTarget], Restart]:
        """Go on behind the last stored segment, or forget what is stored, as ``choose_restart`` decides."""
        again, restart = [], Restart()
        picture_start_s = max(0.0, (probe.video[0].start_s or 0.0) - probe.start_s)
        for target in targets:
            restart = choose_restart(
                plan,
                self._reader.segments(target.rendition_id),
                self._reader.documents(target.rendition_id),
                picture_start_s=picture_start_s,
            )
            await self._writer.truncate_rendition(
                target.rendition_id, segments_from=restart.segment_order, stream_end=restart.offset
            )
            _log.info(
                "{video_id}: ffmpeg makes other bytes now; {rendition} goes on at {at_s:.1f} s",
                video_id=self._video_id,
                rendition=target.plan.name,
                at_s=restart.start_s,
            )
            again.append(
                CutTarget(
                    rendition_id=target.rendition_id,
                    plan=target.plan,
                    first_document_number=restart.document_number,
                    first_segment_order=restart.segment_order,
                    base_offset=restart.offset,
                    start_s=restart.start_s,
                    reused_bytes=restart.offset,
                )
            )
        return again, restart

    async def _cut(
        self,
        probe: MediaProbe,
        plan: IngestPlan,
        targets: Sequence[CutTarget],
        restart: Restart | None = None,
    ) -> None:
        settings = self._settings
        spool = Spool(
            self._spool_folder, limit_bytes=settings.spool_bytes, reserve_bytes=settings.reserve_bytes
        )
        job: CutJob | None = None
        uploader = Uploader(
            store=self._store,
            writer=self._writer,
            library_id=self._reader.library_id(),
            video_id=self._video_id,
            revision=self._number,
            verify=self._settings.verify,
            in_flight=self._settings.uploads_in_flight,
            on_error=lambda: job.stop() if job is not None else None,
        )
        job = CutJob(
            path=self._path,
            reactor=self._reactor,
            runner=self._runner,
            writer=self._writer,
            spool=spool,
            plan=plan,
            targets=targets,
            uploader=uploader,
            on_stderr=self._on_ffmpeg_line,
            on_cut=lambda size: self.show(
                cut_bytes=self._progress.cut_bytes + size,
                stored_bytes=uploader.stored_bytes,
                reused_bytes=sum(target.reused_bytes for target in targets),
            ),
        )
        self.show(stage="store", duration_s=probe.duration_s, cut_bytes=0)
        argv = build_cut_argv(
            self._path,
            probe,
            plan,
            start_s=restart.source_s if restart and restart.offset else None,
            timestamp_offset_s=restart.timestamp_offset_s if restart else 0.0,
            settings=self._settings.encoder,
        )
        try:
            await job.run(argv)
        except BaseException:
            uploader.cancel()
            raise
        self.show(stored_bytes=uploader.stored_bytes)
        ends = [target.end for target in targets if target.end is not None]
        check_complete(probe, max(end.end_s for end in ends), name=shown_name(self._path))
        for target in targets:
            await self._finish_rendition(probe, target)

    async def _finish_rendition(self, probe: MediaProbe, target: CutTarget) -> None:
        assert target.end is not None
        segments = self._reader.segments(target.rendition_id)
        facts = describe_rendition(probe, target.plan, segments, target.end)
        await self._writer.finish_rendition(target.rendition_id, **facts)

    async def _store_extras(self, probe: MediaProbe, plan: IngestPlan) -> None:
        self.show(stage="extras")
        extras = await extract_extras(
            self._path,
            probe,
            plan,
            runner=self._runner,
            reactor=self._reactor,
            video_id=self._video_id,
        )
        extras = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), add_sidecars, self._path, extras
        )
        known = self._reader.extras(self._video_id, self._number)
        await store_extras(
            extras,
            store=self._store,
            writer=self._writer,
            folder=self._spool_folder,
            library_id=self._reader.library_id(),
            video_id=self._video_id,
            revision=self._number,
            verify=self._settings.verify,
            known={extra.name: extra for extra in known},
        )

    async def _verify_rest(self) -> None:
        """Read back what a killed run stored and did not come to read."""
        self.show(stage="verify")
        for rendition in self._reader.renditions(self._video_id, self._number):
            for document in self._reader.documents(rendition.rendition_id):
                if document.verified_at_s is None and shall_verify(
                    self._settings.verify, document.number, document.ref
                ):
                    try:
                        await read_back(self._store, document.ref)
                    except (DocumentCorrupt, DocumentMissing):
                        await self._writer.truncate_rendition(
                            rendition.rendition_id, segments_from=0, stream_end=document.offset
                        )
                        await self._writer.record_stage(self._video_id, self._number, Stage.PROBED)
                        raise
                    await self._writer.record_verified([document.document_id])

    def _on_ffmpeg_line(self, line: str) -> None:
        progress = parse_progress(line)
        if progress is not None:
            self.show(position_s=progress)

    def show(self, **changes: object) -> None:
        """Tell how far it has come: fields of Progress."""
        self._progress = replace(self._progress, **changes)  # type: ignore[arg-type]
        self._on_progress(self._progress)
