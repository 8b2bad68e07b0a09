# SPDX-License-Identifier: MIT
"""
Move or delete a source file whose video is published: ``libraries.after_publish``.

Never in doubt. The file goes only when every document of its video was read back and matched its sha256,
when it still is the file that was ingested, and when nothing of it would be lost. What is owed is noted
before the video is published; a kill at any point leaves it owed, and repeating each step does no harm.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.durable import fsync_folder
from tgsyncd.errors import DocumentCorrupt, DocumentMissing, SourceError, SourceUnreadable, TgsyncdError
from tgsyncd.formats.jellyfin_sidecars import match_sidecars
from tgsyncd.formats.wholeness import find_gaps, find_missing_streams
from tgsyncd.ingest.cutting import run_in_thread
from tgsyncd.ingest.scan import VIDEO_SUFFIXES, identify
from tgsyncd.ingest.verify import read_back
from tgsyncd.model import UNFINISHED, Stage, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tgsyncd.ingest.work import ReleaseRule, Tools
    from tgsyncd.model import Document, IngestPlan, Revision, SourceIdentity, StoredExtra, VideoId
    from tgsyncd.ports import CatalogReader, Clock

__all__ = ["Release", "Releaser", "choose_target", "find_holes", "what_would_be_lost"]

_log = Logger()

FRESH_S = 86_400.0
"""A document that was read back within this time need not be read again."""

_LOST = ("attachment", "second picture", "sound", "subtitles")
"""What ``plan`` leaves out and stores nowhere. Streams of data and further covers are no loss to a viewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What became of a source file: ``done``, ``kept`` for good, or tried again ``later``."""

    what: Literal["done", "kept", "later"]
    words: str


class _Keep(Exception):
    """The source file stays, for good."""


class Releaser:
    """Moves or deletes source files, as their library says."""

    def __init__(self, tools: Tools, clock: Clock) -> None:
        self._tools = tools
        self._reader = tools.reader
        self._clock = clock
        self._running: set[VideoId] = set()

    async def release(self, video_id: VideoId, number: int, rule: ReleaseRule | None) -> Release:
        """Move or delete the source file of a published revision. Never raises TgsyncdError: it says so."""
        if video_id in self._running:
            return Release(what="later", words="its source file is being taken away at this moment")
        self._running.add(video_id)
        try:
            return await self._guarded(video_id, number, rule)
        finally:
            self._running.discard(video_id)

    async def _guarded(self, video_id: VideoId, number: int, rule: ReleaseRule | None) -> Release:
        writer = self._tools.writer
        try:
            words = await self._release(video_id, number, rule)
        except _Keep as reason:
            await writer.forget_source_release(video_id, number)
            _log.warn("{video_id}: its source file is kept: {reason}", video_id=video_id, reason=reason)
            return Release(what="kept", words=f"its source file is kept: {reason}")
        except TgsyncdError as error:
            _log.warn("{video_id}: its source file stays for now: {error}", video_id=video_id, error=error)
            return Release(what="later", words=f"its source file stays for now: {error.message}")
        await writer.settle_source_release(video_id, number)
        _log.info("{video_id}: its source file was {words}", video_id=video_id, words=words)
        return Release(what="done", words=f"its source file was {words}")

    async def _release(self, video_id: VideoId, number: int, rule: ReleaseRule | None) -> str:
        revision = self._reader.revision(video_id, number)
        video = self._reader.video(video_id)
        if revision is None or video is None or video.current_revision != number:
            raise _Keep("another revision of the video is published")
        if rule is None:
            raise _Keep("its library is not configured to release it any more")
        if revision.stage is not Stage.PUBLISHED or video.wanted is not Wanted.PUBLISHED:
            raise TgsyncdError("its video is not published")
        strms = [
            path
            for path, digest in self._reader.published_files(video_id).items()
            if path.endswith(".strm") and digest != UNFINISHED
        ]
        if not strms or not os.path.lexists(strms[0]):
            raise TgsyncdError("its .strm does not stand in the library")
        lost = what_would_be_lost(revision.plan) if rule.action == "delete" else []
        if lost:
            raise _Keep(f"it holds what is not stored: {', '.join(lost)}")
        extras = self._reader.extras(video_id, number)
        await self._read_all_back(revision, extras)
        digests = frozenset(extra.ref.sha256 for extra in extras)
        return await self._take_away(revision.source, rule, digests, f"{video_id}.{number}")

    async def _read_all_back(self, revision: Revision, extras: Sequence[StoredExtra]) -> None:
        holes = list(find_holes(self._reader, revision))
        if holes:
            raise _Keep(f"its video is not stored as a whole: {holes[0]}")
        documents: list[Document | StoredExtra] = list(extras)
        for rendition in self._reader.renditions(revision.video_id, revision.number):
            documents += self._reader.documents(rendition.rendition_id)
        oldest_s = self._clock.now_s() - FRESH_S
        for document in documents:
            if document.verified_at_s is not None and document.verified_at_s >= oldest_s:
                continue
            try:
                await read_back(self._tools.store, document.ref)
            except (DocumentCorrupt, DocumentMissing) as error:
                raise _Keep(f"{error.message}; see tgsyncd check") from error
            await self._tools.writer.record_verified([document.document_id])

    async def _take_away(
        self, source: SourceIdentity, rule: ReleaseRule, digests: frozenset[str], name: str
    ) -> str:
        """Take the file away in a thread: of its own where it may have to be copied, which takes long."""
        reactor = self._tools.reactor
        words: list[str] = []
        errors: list[Exception] = []

        def work() -> None:
            try:
                words.append(_take_away(source, rule, digests, name))
            except (SourceError, _Keep) as error:
                errors.append(error)
            except OSError as error:
                errors.append(TgsyncdError(f"{error.filename or source.path}: {error.strerror or error}"))

        if rule.action == "move":
            await run_in_thread(reactor, work, name=f"move {name}")
        else:
            await deferToThreadPool(reactor, reactor.getThreadPool(), work)
        if errors:
            raise errors[0]
        return words[0]


def what_would_be_lost(plan: IngestPlan | None) -> list[str]:
    """Return what of the source is stored nowhere, in words."""
    return [] if plan is None else [left.what for left in plan.left_out if left.what.startswith(_LOST)]


def find_holes(reader: CatalogReader, revision: Revision) -> Iterator[str]:
    """Yield what is missing in the catalog for the revision to play as a whole, in words."""
    renditions = reader.renditions(revision.video_id, revision.number)
    yield from find_missing_streams(revision.plan, renditions)
    for rendition in renditions:
        yield from find_gaps(rendition, reader.documents(rendition.rendition_id), "document")


def choose_target(source: Path, rule: ReleaseRule, *, mark: str = "") -> Path:
    """Return where a source file is moved to: the same place below the folder; with a mark in its name."""
    assert rule.folder is not None
    target = rule.folder / source.relative_to(rule.source_root)
    return target.with_name(f"{target.stem} [{mark}]{target.suffix}") if mark else target


# --- in a thread --------------------------------------------------------------------------------------


def _take_away(source: SourceIdentity, rule: ReleaseRule, digests: frozenset[str], mark: str) -> str:
    path = Path(source.path)
    sidecars = _stored_sidecars(path, digests)
    words = "gone already"
    if os.path.lexists(path):
        _check(path, source)
        if rule.action == "delete":
            path.unlink()
            words = "deleted"
        else:
            words = f"moved to {_move(path, rule, mark)}"
        fsync_folder(path.parent)
    for each in sidecars:
        # What cannot go stays: it is stored, and the film is gone.
        with suppress(OSError):
            if rule.action == "delete":
                each.unlink()
            else:
                _move(each, rule, mark)
    _remove_empty(path.parent, rule.source_root)
    return words


def _check(path: Path, source: SourceIdentity) -> None:
    """Raise _Keep when this is not the file that was ingested."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _Keep("it is a link, not a file")
    now = identify(path)
    if (now.size_bytes, now.mtime_ns, now.sampled_hash) != (
        source.size_bytes,
        source.mtime_ns,
        source.sampled_hash,
    ):
        raise _Keep("it changed since it was stored")


def _stored_sidecars(path: Path, digests: frozenset[str]) -> list[Path]:
    """Return the files beside the source that are stored byte for byte."""
    try:
        siblings = [name for name in os.listdir(path.parent) if not name.startswith(".")]  # noqa: PTH208
    except OSError:
        return []
    others = [name for name in siblings if name != path.name and Path(name).suffix.lower() in VIDEO_SUFFIXES]
    found = []
    for sidecar in match_sidecars(path.stem, siblings, is_alone=not others):
        each = path.parent / sidecar.name
        with suppress(OSError):
            if each.is_file() and not each.is_symlink() and _digest(each) in digests:
                found.append(each)
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(path: Path, rule: ReleaseRule, mark: str) -> Path:
    """Move a file, over file systems too; return its new place. What stands there is never replaced."""
    for target in (choose_target(path, rule), choose_target(path, rule, mark=mark)):
        if os.path.lexists(target):
            # A move that was killed before its last step, or an equal file of the owner's.
            if target.is_file() and filecmp.cmp(path, target, shallow=False):
                path.unlink()
                return target
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(target)
        except OSError:
            _copy(path, target)
            path.unlink()
        fsync_folder(target.parent)
        return target
    raise SourceUnreadable(f"another file stands where {path} should be moved to")


def _copy(path: Path, target: Path) -> None:
    """Copy with times and mode; under its name only when all of it is on the disk, and equal."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        shutil.copy2(path, temporary)
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        if not filecmp.cmp(path, temporary, shallow=False):
            raise SourceUnreadable(f"{path} changed while it was moved")
        temporary.rename(target)
        fsync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove the folders that became empty, up to the library's own."""
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
