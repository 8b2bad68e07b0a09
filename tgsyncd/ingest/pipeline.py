# SPDX-License-Identifier: MIT
"""
Drive one source file from the disk to the Jellyfin library.

::

    identify → recognise → probe → plan → cut ═ upload ═ read back → extras → publish (→ release)

Every step records what it did before the next begins, and each can be repeated. From probe to extras is
``revision.RevisionIngest``; here are the two ends: which video a file is, and what is published of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import CancelledError, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.errors import ConfigError, NotFound, StoreUnavailable
from tgsyncd.ingest.extras import CHAPTERS_NAME
from tgsyncd.ingest.names import check_video_id, choose_video_id
from tgsyncd.ingest.naming import choose_places, files_beside, read_name
from tgsyncd.ingest.probe import FfmpegVersion
from tgsyncd.ingest.recognise import Action, Recognition, recognise
from tgsyncd.ingest.retry import is_attempt
from tgsyncd.ingest.revision import RevisionIngest
from tgsyncd.ingest.scan import identify, is_there
from tgsyncd.ingest.work import IngestOptions, IngestOutcome, Progress, Tools
from tgsyncd.model import Stage, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tgsyncd.formats.jellyfin_names import SourceName
    from tgsyncd.ingest.publish import Publisher
    from tgsyncd.ingest.release import Releaser
    from tgsyncd.model import IngestPlan, SourceIdentity, Video, VideoId

__all__ = ["Pipeline"]

_log = Logger()
_T = TypeVar("_T")


class Pipeline:
    """Ingests source files, one call a file."""

    def __init__(self, tools: Tools, publisher: Publisher, releaser: Releaser | None = None) -> None:
        self.tools = tools
        self._releaser = releaser
        self._reader = tools.reader
        self._writer = tools.writer
        self._publisher = publisher
        self._ffmpeg = FfmpegVersion(tools.runner)
        self._admission = DeferredLock()
        self._running: set[VideoId] = set()

    async def ingest(
        self, path: Path, options: IngestOptions, on_progress: Callable[[Progress], None]
    ) -> IngestOutcome:
        """
        Ingest one file and return what became of it.

        Raises SourceError and its children for what is wrong with the file, and StoreError, SpaceError,
        FfmpegError, PublishConflict. Whatever is raised is recorded with the revision first.
        """
        on_progress(Progress(video_id=None, path=path, stage="identify"))
        identity = await self._in_thread(lambda: identify(path))
        # One at a time: two copies of a file that come at once are one video, and an id is given once.
        await self._admission.acquire()
        try:
            found = await self._recognise(identity, force=options.force)
            _check_wanted_id(found, options)
            if found.video is not None and found.action is Action.NOTHING:
                source = path if found.is_moved else Path(found.video.source_path)
                outcome = await self._nothing_to_do(found.video, path, source, options)
                if found.is_moved:
                    # Behind publishing under its new name: after a kill in between that is done again.
                    await self._writer.record_source_path(found.video.video_id, identity)
                return outcome
            if found.video is not None and found.is_moved:
                await self._writer.record_source_path(found.video.video_id, identity)
            video_id = await self._video_id(found, identity, options)
            number = await self._revision_number(found, video_id, identity)
            self._refuse_twice(video_id)
        finally:
            self._admission.release()
        self._running.add(video_id)
        try:
            work = RevisionIngest(self.tools, video_id, number, identity, on_progress, ffmpeg=self._ffmpeg)
            return await self._run(work, path, action=found.action, options=options)
        finally:
            self._running.discard(video_id)

    def _refuse_twice(self, video_id: VideoId) -> None:
        if video_id in self._running:
            raise StoreUnavailable(f"{video_id} is being stored at this moment", hint="it is a copy")

    async def _run(
        self, work: RevisionIngest, path: Path, *, action: Action, options: IngestOptions
    ) -> IngestOutcome:
        video_id, number = work.video_id, work.number
        try:
            plan = await work.run()
            work.show(stage="publish")
            strm = await self._publish(video_id, number, path, options)
        except CancelledError:
            raise  # Stopped by its owner, which is nothing wrong with the video.
        except Exception as error:
            self._ffmpeg.forget()
            await self._record_error(video_id, number, error, options)
            raise
        notes = notes_on(plan)
        if options.release is not None and self._releaser is not None:
            work.show(stage="release")
            notes += ((await self._releaser.release(video_id, number, options.release)).words,)
        return IngestOutcome(
            path=path,
            video_id=video_id,
            action="resumed" if action is Action.RESUME else "stored",
            strm=strm,
            stored_bytes=work.progress.stored_bytes,
            reused_bytes=work.progress.reused_bytes,
            notes=notes,
        )

    async def _record_error(
        self, video_id: VideoId, number: int, error: Exception, options: IngestOptions
    ) -> None:
        revision = self._reader.revision(video_id, number)
        counts = is_attempt(error)
        attempts = (revision.attempts if revision else 0) + counts
        text = str(error) or type(error).__name__
        try:
            await self._writer.record_error(
                video_id, number, text, options.next_attempt_at_s(error, attempts), is_attempt=counts
            )
        except NotFound:
            _log.info("{video_id}: deleted while it was ingested", video_id=video_id)

    async def _recognise(self, identity: SourceIdentity, *, force: bool) -> Recognition:
        at_path = self._reader.video_by_source(identity.path)
        newest = self._reader.newest_revision(at_path.video_id) if at_path else None
        same_size = [
            (video, revision)
            for video, _ in self._reader.videos_by_size(identity.size_bytes)
            if (revision := self._reader.newest_revision(video.video_id)) is not None
        ]
        same = [each.source for _, each in same_size if each.source.sampled_hash == identity.sampled_hash]
        return recognise(
            identity,
            at_path=(at_path, newest) if at_path and newest else None,
            same_size=same_size,
            still_there=await self._in_thread(lambda: {each.path for each in same if is_there(each)}),
            force=force,
        )

    async def _video_id(
        self, found: Recognition, identity: SourceIdentity, options: IngestOptions
    ) -> VideoId:
        if found.video is not None:
            return found.video.video_id
        path = Path(identity.path)
        if options.video_id is not None:
            video_id = check_video_id(options.video_id)
            if self._is_taken(video_id, identity.path):
                raise ConfigError(f"the video id {video_id} belongs to another file", hint="choose another")
        else:
            video_id = choose_video_id(
                path.stem, identity.path, lambda known: self._is_taken(known, identity.path)
            )
        await self._writer.create_video(
            video_id,
            original_filename=_printable(path.name),
            library=options.library,
            source_path=identity.path,
        )
        return video_id

    def _is_taken(self, video_id: VideoId, path: str) -> bool:
        """Tell whether another file has this id. A kill may leave a video without a revision."""
        video = self._reader.video(video_id)
        return video is not None and (
            video.source_path != path or self._reader.newest_revision(video_id) is not None
        )

    async def _revision_number(self, found: Recognition, video_id: VideoId, identity: SourceIdentity) -> int:
        newest = self._reader.newest_revision(video_id)
        if newest is None or found.action is Action.REPLACE:
            return await self._writer.begin_revision(video_id, identity)
        return newest.number

    async def _nothing_to_do(
        self, video: Video, path: Path, source: Path, options: IngestOptions
    ) -> IngestOutcome:
        """Write again what is published: a ``.strm`` that was deleted, or whose URL has changed."""
        revision = video.current_revision or 1
        strm = await self.publish_files(video, revision, source, options)
        if video.error:  # It could not be published before, and that is over.
            await self._writer.record_stage(video.video_id, revision, Stage.PUBLISHED)
        return IngestOutcome(path=path, video_id=video.video_id, action="unchanged", strm=strm)

    async def _publish(
        self, video_id: VideoId, number: int, source: Path, options: IngestOptions
    ) -> Path | None:
        if self.tools.before_publish is not None:
            await self.tools.before_publish(video_id, number)
        if options.release is not None and self._releaser is not None:
            # Before it is published: a kill behind that must not forget what the owner asked for.
            await self._writer.owe_source_release(video_id, number)
        await self._writer.publish_revision(video_id, number)
        video = self._reader.video(video_id)
        assert video is not None
        return await self.publish_files(video, number, source, options)

    async def publish_again(
        self, video_id: VideoId, options_for: Callable[[Path], IngestOptions]
    ) -> Path | None:
        """
        Publish a video anew from the store; return its ``.strm``.

        None when there is nothing to be published: it plays nothing, is withdrawn, or is being ingested at
        this moment, which ends with publishing it (perhaps at another place). Raises what ``ingest`` does.
        """
        await self._admission.acquire()
        try:
            video = self._reader.video(video_id)
            if video is None or video.current_revision is None or video_id in self._running:
                return None
            source = Path(video.source_path)
            return await self.publish_files(video, video.current_revision, source, options_for(source))
        finally:
            self._admission.release()

    async def publish_files(
        self, video: Video, revision: int, source: Path, options: IngestOptions
    ) -> Path | None:
        """Write the video's files into the library, from the catalog and the store."""
        if video.wanted is Wanted.WITHDRAWN:
            return None
        name, files = await self._files_of(video, revision, source, options)
        places = choose_places(source, name, options.publish)
        base = self._publisher.base_of(video.video_id, places, options.publish)
        paths = await self._publisher.publish(video.video_id, base, files, options.publish)
        return next((path for path in paths if path.suffix == ".strm"), None)

    async def published_contents(
        self, video: Video, revision: int, source: Path, options: IngestOptions
    ) -> Mapping[str, bytes]:
        """Return what should stand where the video is published now: path to contents."""
        _, files = await self._files_of(video, revision, source, options)
        strms = [path for path in self._reader.published_files(video.video_id) if path.endswith(".strm")]
        return {
            f"{path.removesuffix('.strm')}{ending}": data for path in strms for ending, data in files.items()
        }

    async def _files_of(
        self, video: Video, revision: int, source: Path, options: IngestOptions
    ) -> tuple[SourceName | None, dict[str, bytes]]:
        stored: dict[str, bytes] = {}
        for extra in self._reader.extras(video.video_id, revision):
            if extra.name != CHAPTERS_NAME:
                stored[extra.name] = b"".join(
                    [chunk async for chunk in self.tools.store.open(extra.ref, 0, extra.ref.size_bytes)]
                )
        name = await self._in_thread(lambda: read_name(source, options.publish))
        files = files_beside(stored, name, options.publish)
        files[".strm"] = f"{options.url_for(video.video_id)}\n".encode()
        return name, files

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await deferToThreadPool(self.tools.reactor, self.tools.reactor.getThreadPool(), work)


def notes_on(plan: IngestPlan) -> tuple[str, ...]:
    """Return what the owner should know of a plan, in words."""
    notes = [f"{left.what} is left out: {left.why}" for left in plan.left_out]
    if plan.late_sound_s:
        # 63 MB for a minute, with Jellyfin's -analyzeduration 200M -probesize 1G.
        notes.append(
            f"its sound starts {plan.late_sound_s:.0f} s after the picture: "
            "Jellyfin reads that far at every Play"
        )
    return tuple(notes)


def _check_wanted_id(found: Recognition, options: IngestOptions) -> None:
    if options.video_id and found.video is not None and found.video.video_id != options.video_id:
        raise ConfigError(
            f"this file is stored already, as {found.video.video_id}",
            hint="a video keeps its id for ever; delete it first to store it under another",
        )


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
