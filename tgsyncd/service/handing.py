# SPDX-License-Identifier: MIT
"""Files that somebody hands to the running daemon: ``tgsyncd upload`` beside ``tgsyncd run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool

from tgsyncd.daemon import UploadOptions
from tgsyncd.errors import ConfigError
from tgsyncd.ingest.folders import look_at
from tgsyncd.ingest.names import check_video_id
from tgsyncd.ingest.scan import find_videos
from tgsyncd.model import Stage
from tgsyncd.service.queue import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from tgsyncd.daemon import Application, UploadOutcome
    from tgsyncd.ingest.watching import FoundFile
    from tgsyncd.ingest.work import Progress
    from tgsyncd.model import KnownSource
    from tgsyncd.service.ingesting import Ingesting
    from tgsyncd.service.queue import IngestQueue

__all__ = ["Handing", "outcome_json"]

PROGRESS_S = 0.2
"""Progress of one file is told at most so often."""


class Handing:
    """Puts files that were handed over at the head of the queue, and tells what becomes of them."""

    def __init__(self, app: Application, queue: IngestQueue, ingesting: Ingesting, *, reactor: Any) -> None:
        self._app = app
        self._queue = queue
        self._ingesting = ingesting
        self._reactor = reactor

    async def upload(
        self, question: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        """
        Store files as ``tgsyncd upload`` would; return the outcomes.

        Quiet hours and a pause after trouble do not hold them up. Raises ConfigError.
        """
        options = UploadOptions(
            force=bool(question.get("force")),
            video_id=question.get("video_id"),
            library=question.get("library"),
        )
        paths = [Path(path) for path in question["paths"]]
        files = await self._in_thread(lambda: find_videos(paths))
        self._check(files, options)
        found = await self._in_thread(lambda: [(path, look_at(str(path))) for path in files])
        tell({"files": [str(path) for path in files]})
        waiting = [self._begin(path, file, options, tell) for path, file in found]
        for each in waiting:
            each.addCallback(self._tell_end, tell)
        return {"outcomes": [await each for each in waiting]}

    def _tell_end(
        self, outcome: UploadOutcome, tell: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        ended = outcome_json(self._app, outcome)
        tell({"ended": ended})
        return ended

    async def resume(self) -> None:
        """
        Go on with files outside of all libraries that a stop interrupted: no scan would find them.

        What was handed over and not begun is in the queue alone, and has to be given again.
        """
        roots = [library.source for library in self._app.config.libraries]
        known = await self._app.catalog.known_sources()

        def look() -> Sequence[tuple[KnownSource, FoundFile | None]]:
            begun = (
                source
                for source in known
                if source.stage is not Stage.PUBLISHED
                and (not source.is_failed or source.next_attempt_at_s is not None)
                and not any(Path(source.path).is_relative_to(root) for root in roots)
            )
            return [(source, look_at(source.path)) for source in begun]

        found = await self._in_thread(look)
        for source, file in found:
            if file is not None:
                library = source.library if self._app.config.library(source.library) else None
                options = UploadOptions(library=library)
                self._queue.add(Entry(file=file, is_urgent=True, options=options))

    def _check(self, files: Sequence[Path], options: UploadOptions) -> None:
        if options.video_id is not None:
            check_video_id(options.video_id)
            if len(files) != 1:
                raise ConfigError(f"--video-id names one video, and {len(files)} files were given")
        for path in files:
            self._app.ingest_options(path, options)

    def _begin(
        self,
        path: Path,
        file: FoundFile | None,
        options: UploadOptions,
        tell: Callable[[Mapping[str, Any]], None],
    ) -> Deferred[UploadOutcome]:
        follow = self._ingesting.following.follow(str(path), self._progress_teller(tell))
        if file is None:
            self._ingesting.following.vanished(str(path))
        else:
            # Nothing happens when it is being stored at this moment: its outcome is awaited.
            self._queue.add(Entry(file=file, is_urgent=True, options=options))
        return follow

    def _progress_teller(self, tell: Callable[[Mapping[str, Any]], None]) -> Callable[[Progress], None]:
        told_s, stage = 0.0, ""

        def tell_progress(progress: Progress) -> None:
            nonlocal told_s, stage
            now_s = self._reactor.seconds()
            if progress.stage == stage and now_s - told_s < PROGRESS_S:
                return
            told_s, stage = now_s, progress.stage
            tell({"progress": _progress_json(progress)})

        return tell_progress

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)


def _progress_json(progress: Progress) -> dict[str, object]:
    return {
        "path": str(progress.path),
        "video_id": progress.video_id,
        "stage": progress.stage,
        "position_s": progress.position_s,
        "duration_s": progress.duration_s,
        "cut_bytes": progress.cut_bytes,
        "stored_bytes": progress.stored_bytes,
        "reused_bytes": progress.reused_bytes,
    }


def outcome_json(application: Application, each: UploadOutcome) -> dict[str, Any]:
    """Return one outcome as JSON."""
    if each.outcome is None:
        error = each.error
        return {
            "path": str(each.path),
            "error": None
            if error is None
            else {
                "kind": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
            },
        }
    done = each.outcome
    return {
        "path": str(each.path),
        "error": None,
        "video_id": done.video_id,
        "action": done.action,
        "strm": str(done.strm) if done.strm else None,
        "playlist_url": application.playlist_url(done.video_id),
        "stored_bytes": done.stored_bytes,
        "reused_bytes": done.reused_bytes,
        "notes": list(done.notes),
    }
