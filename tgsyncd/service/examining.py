# SPDX-License-Identifier: MIT
"""``tgsyncd check`` and ``tgsyncd repair``, and the nightly job that does the same for what is cheap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.daemon import UploadOptions
from tgsyncd.errors import NotFound, TgsyncdError
from tgsyncd.ingest.names import check_video_id
from tgsyncd.ingest.scan import identify
from tgsyncd.ingest.verify import read_back
from tgsyncd.maintenance.check import Checker, find_strays, place_of
from tgsyncd.maintenance.findings import (
    Finding,
    Kind,
    Repair,
    RepairKind,
    choose_repairs,
    finding_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tgsyncd.daemon import Application
    from tgsyncd.maintenance.check import Depth, Examined
    from tgsyncd.model import DocumentRef, Video

    Tell = Callable[[Mapping[str, Any]], None]

__all__ = ["Examining"]

_log = Logger()

LOGGED = 10
"""So many findings of a night are logged; ``tgsyncd check`` names all."""
REPORTED = 10_000
"""So many findings are returned, 3 MB of JSON; all are counted."""
LIBRARY_KINDS = frozenset(
    {
        Kind.NOT_PUBLISHED,
        Kind.NOT_WITHDRAWN,
        Kind.STRM_MISSING,
        Kind.STRM_ALTERED,
        Kind.SIDECAR_MISSING,
        Kind.SIDECAR_ALTERED,
    }
)
"""What the job mends by itself: files that are derived from catalog and store in a moment."""


@runtime_checkable
class Listable(Protocol):
    """A store that can tell what it holds."""

    async def names(self) -> Mapping[str, int]:
        """Return the names and sizes of what has lain there for a while."""
        ...


class _Around:
    """``maintenance.check.Surroundings`` of an application."""

    def __init__(self, app: Application, reactor: Any) -> None:
        self._app = app
        self._reactor = reactor

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    async def pause(self) -> None:
        await deferLater(self._reactor, 0)

    def root_of(self, library: str) -> Path | None:
        known = self._app.config.library(library)
        return known.publish if known else None

    async def exists(self, ref: DocumentRef) -> bool:
        return await self._app.store.exists(ref)

    async def read_back(self, ref: DocumentRef) -> None:
        await read_back(self._app.store, ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mended:
    """What became of one repair."""

    repair: Repair
    is_done: bool
    words: str


class Examining:
    """Checks and repairs one application's catalog, libraries and store."""

    def __init__(self, app: Application, *, reactor: Any) -> None:
        self._app = app
        self._around = _Around(app, reactor)

    async def check(self, question: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        """
        Look at everything, or at one video; tell each finding; return them with what was looked at.

        Raises NotFound, ConfigError; StoreUnavailable and StoreRefused when the store cannot be asked.
        """
        examined = await self._examine(question, tell)
        return _report(examined, [])

    async def repair(self, question: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        """Look at everything, and mend what can be derived from catalog, store or source."""
        examined = await self._examine(question, tell)
        mended = []
        for repair in choose_repairs(examined.findings):
            tell({"repair": {"kind": repair.kind.value, "video_id": repair.video_id}})
            mended.append(await self._mend(repair))
        return _report(examined, mended)

    async def reconcile(self) -> str:
        """
        Compare libraries and store with the catalog, and write again what is missing in a library.

        The latter only where ``scan.on_strm_removed`` is ``restore``. Raises TgsyncdError with what is left.
        """
        depth: Depth = "exist" if isinstance(self._app.store, Listable) else "none"
        examined = await self._look(self._app.catalog.videos(), depth, _say_nothing)
        await self._read_stalest(examined)
        left = [finding for finding in examined.findings if finding.kind not in LIBRARY_KINDS]
        repairs = choose_repairs([each for each in examined.findings if each.kind in LIBRARY_KINDS])
        mended = []
        if self._app.config.scan.on_strm_removed == "restore":
            mended = [await self._mend(repair) for repair in repairs]
        failed = [each for each in mended if not each.is_done]
        for finding in left[:LOGGED]:
            _log.warn("{kind}: {words}", kind=finding.kind.value, words=_line(finding))
        seen = f"{examined.videos} videos, {examined.files} files, {examined.documents} documents"
        done = sum(each.is_done for each in mended)
        if left or failed:
            raise TgsyncdError(
                f"{seen} looked at, {done} videos mended, {_count(len(left) + len(failed))} left: "
                f"{_line(left[0]) if left else failed[0].words}",
                hint="tgsyncd check names all",
            )
        return f"{seen} looked at, {done} videos mended"

    # --- looking ------------------------------------------------------------------------------------------

    async def _examine(self, question: Mapping[str, Any], tell: Tell) -> Examined:
        depth: Depth = "read" if question.get("read") else "none"
        if depth == "none" and isinstance(self._app.store, Listable):
            depth = "exist"
        wanted = question.get("video_id")
        if wanted is not None:
            video = self._app.catalog.video(check_video_id(wanted))
            if video is None:
                raise NotFound(f"there is no video {wanted}", hint="tgsyncd list names them")
            return await self._look([video], depth, tell)
        return await self._look(self._app.catalog.videos(), depth, tell, everything=True)

    async def _read_stalest(self, examined: Examined) -> None:
        """Read some documents back, so that in time all were."""
        checker = Checker(self._app.catalog, self._around, on_finding=lambda _finding: None)
        checker.examined = examined
        limit = self._app.config.jobs.reconcile_documents
        for video_id, document_id, ref in await self._app.catalog.stalest_documents(limit):
            count = len(examined.findings)
            if place_of(ref) in {each.path for each in examined.findings}:
                continue
            await checker.document(video_id, "a document", ref, "read")
            if len(examined.findings) == count:
                await self._app.catalog.record_verified([document_id])

    async def _look(
        self, videos: Sequence[Video], depth: Depth, tell: Tell, *, everything: bool = False
    ) -> Examined:
        checker = Checker(
            self._app.catalog, self._around, on_finding=lambda each: tell({"finding": finding_json(each)})
        )
        if everything:
            for words in await self._app.catalog.integrity_check():
                checker.found(Kind.CATALOG_DAMAGED, words)
        await checker.videos(videos, depth, on_video=lambda video_id: tell({"video_id": video_id}))
        if everything and isinstance(self._app.store, Listable):
            await find_strays(self._app.store.names, self._app.catalog.recorded_names, checker)
        return checker.examined

    # --- mending ------------------------------------------------------------------------------------------

    async def _mend(self, repair: Repair) -> _Mended:
        """Carry out one repair; never raises TgsyncdError."""
        video = self._app.catalog.video(repair.video_id)
        try:
            if video is None:
                raise NotFound("it was deleted meanwhile")
            words = await self._carry_out(repair, video)
        except TgsyncdError as error:
            _log.warn("{video_id}: not mended: {error}", video_id=repair.video_id, error=error)
            return _Mended(repair=repair, is_done=False, words=str(error))
        _log.info("{video_id}: {words}", video_id=repair.video_id, words=words)
        return _Mended(repair=repair, is_done=True, words=words)

    async def _carry_out(self, repair: Repair, video: Video) -> str:
        source = Path(video.source_path)
        options = self._app.ingest_options(source, UploadOptions(library=self._library_of(video)))
        if repair.kind is RepairKind.WITHDRAW:
            await self._app.publisher.withdraw(video.video_id)
            return "withdrawn"
        if repair.kind is RepairKind.STORE_AGAIN:
            return await self._store_again(video, source)
        assert video.current_revision is not None
        if repair.kind is RepairKind.WRITE:
            contents = await self._app.pipeline.published_contents(
                video, video.current_revision, source, options
            )
            if all(path in contents for path in repair.paths):
                for path in sorted(repair.paths, key=lambda path: path.endswith(".strm")):
                    await self._app.publisher.rewrite(
                        video.video_id, Path(path), contents[path], options.publish
                    )
                return f"{len(repair.paths)} files were written again"
        await self._app.pipeline.publish_files(video, video.current_revision, source, options)
        return "published again"

    async def _store_again(self, video: Video, source: Path) -> str:
        revision = self._app.catalog.revision(video.video_id, video.current_revision or 0)
        now = await self._around.in_thread(lambda: identify(source))
        if revision is None or now.sampled_hash != revision.source.sampled_hash:
            raise TgsyncdError(f"its source file {source} is another one now")
        options = self._app.ingest_options(source, UploadOptions(force=True, library=self._library_of(video)))
        await self._app.pipeline.ingest(source, options, lambda _progress: None)
        return f"stored again from {source}"

    def _library_of(self, video: Video) -> str | None:
        return video.library if self._app.config.library(video.library) else None


def _report(examined: Examined, mended: Sequence[_Mended]) -> Mapping[str, Any]:
    done = {each.repair.video_id for each in mended if each.is_done}
    mendable = {id(finding) for each in mended for finding in each.repair.findings}
    left = [each for each in examined.findings if not (id(each) in mendable and each.video_id in done)]
    return {
        "videos": examined.videos,
        "files": examined.files,
        "documents": examined.documents,
        "findings": [finding_json(each) for each in examined.findings[:REPORTED]],
        "by_kind": dict(Counter(each.kind.value for each in examined.findings)),
        "repairs": [
            {"video_id": each.repair.video_id, "kind": each.repair.kind.value, "is_done": each.is_done,
             "words": each.words}
            for each in mended
        ],
        "left": len(left),
    }  # fmt: skip


def _count(problems: int) -> str:
    return f"{problems} problem{'' if problems == 1 else 's'}"


def _say_nothing(_event: Mapping[str, Any]) -> None:
    pass


def _line(finding: Finding) -> str:
    return f"{finding.video_id}: {finding.words}" if finding.video_id else finding.words
