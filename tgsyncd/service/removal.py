# SPDX-License-Identifier: MIT
"""What is done about source files and ``.strm`` files that are gone; nothing hasty."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.daemon import UploadOptions
from tgsyncd.errors import NotFound, TgsyncdError
from tgsyncd.ingest.watching import MASS_FILES, MASS_SHARE, judge_vanished
from tgsyncd.model import UNFINISHED, Wanted
from tgsyncd.service.addresses import rewrite_strms
from tgsyncd.service.rarely import Rarely

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from tgsyncd.daemon import Application
    from tgsyncd.ingest.watching import Walk
    from tgsyncd.ingest.work import IngestOptions
    from tgsyncd.model import KnownSource, PublishedStrm, VideoId

__all__ = ["Removal"]

_log = Logger()
_T = TypeVar("_T")


class Removal:
    """Acts on what is gone, as ``scan.on_source_removed`` and ``scan.on_strm_removed`` say."""

    def __init__(self, app: Application, *, reactor: Any) -> None:
        self._app = app
        self._reactor = reactor
        self._missing: set[str] = set()
        self._doubts: set[str] = set()
        self._rarely = Rarely()
        self._refused: dict[str, str] = {}

    async def sources_vanished(self, walk: Walk, vanished: Sequence[KnownSource], known_count: int) -> None:
        """Act on source files that this scan did not see, and the scan before did not see either."""
        action = self._app.config.scan.on_source_removed
        published = [source for source in vanished if action == "delete" or source.is_published]
        verdict = judge_vanished(walk, published, known_count)
        if action == "keep":
            verdict = judge_vanished(walk, vanished, known_count)
        self._tell_doubt(walk.root, verdict.doubt)
        now_missing = {source.path for source in verdict.gone}
        confirmed = [source for source in verdict.gone if source.path in self._missing]
        below = walk.root.rstrip("/") + "/"
        self._missing = {path for path in self._missing if not path.startswith(below)} | now_missing
        if action == "keep":
            return
        for source in confirmed:
            await self._act(source.video_id, action, f"its source file {source.path} is gone")

    async def check_published(self) -> str:
        """Finish what a kill left, write ``.strm`` files whose URL changed, act on those that are gone."""
        finished = await self._finish()
        strms = [strm for strm in await self._app.catalog.published_strms() if strm.sha256 != UNFINISHED]
        rewritten = await rewrite_strms(self._app, strms, reactor=self._reactor)
        missing = await self._in_thread(
            lambda: [strm for strm in strms if not os.path.lexists(strm.path)],
        )
        self._missing -= {strm.path for strm in strms} - {strm.path for strm in missing}
        acted = await self._act_on_missing(strms, missing)
        return (
            f"{len(strms)} .strm files, {rewritten} with a new address, {len(missing)} gone, {acted} acted on"
            f"{f', {finished} finished' if finished else ''}"
        )

    async def _finish(self) -> int:
        """
        Publish, or withdraw to the end, what a killed or failed run left in the middle; return how many.

        That is a ``.strm`` whose sha256 is UNFINISHED; and a video of which nothing stands in the library
        although its source is meant to be kept without: somebody began to delete it, or we did to move it.
        """
        catalog, count = self._app.catalog, 0
        unfinished = {s.video_id: s.path for s in await catalog.published_strms() if s.sha256 == UNFINISHED}
        for video_id, path in unfinished.items():
            video = catalog.video(video_id)
            if video is None:
                continue
            if video.current_revision is None or video.wanted is Wanted.WITHDRAWN:
                await self._app.publisher.withdraw(video_id)
                count += 1
            else:
                count += await self._publish(video_id, path, "was not finished, and is now")
        if self._app.config.scan.on_source_removed == "keep":
            for video in await catalog.unpublished_videos():
                # Where the source stands, the scan brings it to the pipeline.
                if not await self._in_thread(partial(os.path.lexists, video.source_path)):
                    what = "is published without its source"
                    count += await self._publish(video.video_id, video.source_path, what)
        return count

    async def _publish(self, video_id: VideoId, path: str, what: str) -> bool:
        def options_for(source: Path) -> IngestOptions:
            return self._app.ingest_options(source, UploadOptions())

        try:
            strm = await self._app.pipeline.publish_again(video_id, options_for)
        except TgsyncdError as error:
            if self._refused.get(path) != str(error):
                self._refused[path] = str(error)
                _log.warn("{path} is not written: {error}", path=path, error=error)
            return False
        if strm is None:
            return False
        self._refused.pop(path, None)
        self._rarely = Rarely()
        _log.info("{video_id}: {path} {what}", video_id=video_id, path=path, what=what)
        return True

    async def _act_on_missing(self, strms: Sequence[PublishedStrm], missing: Sequence[PublishedStrm]) -> int:
        action = self._app.config.scan.on_strm_removed
        if not missing:
            return 0
        if action != "restore":
            count = len(missing)
            if count > MASS_FILES and count > MASS_SHARE * len(strms):
                self._tell_doubt("strm", f"{count} of {len(strms)} .strm files are gone at once")
                return 0
        acted = 0
        for strm in missing:
            root = self._app.publish_root(strm.library)
            if not await self._in_thread(partial(_is_there, root, may_be_empty=action == "restore")):
                self._tell_doubt(str(root), f"{root} is not there or empty: is its disk mounted?")
                continue
            confirmed = strm.path in self._missing
            self._missing.add(strm.path)
            if action == "restore":
                await self._restore(strm)
            elif confirmed:
                await self._act(strm.video_id, action, f"somebody removed {strm.path}", by_hand=True)
            else:
                continue
            self._missing.discard(strm.path)
            acted += 1
        return acted

    async def _restore(self, strm: PublishedStrm) -> None:
        await self._publish(strm.video_id, strm.path, "was gone and stands again")

    async def _bury(self, video_id: VideoId) -> None:
        """
        Delete a video whose source file still stands there, so that no scan stores it again.

        What is left is a revision that is not to be tried until the file changes, or somebody uploads it.
        """
        await self._app.publisher.withdraw(video_id)
        await self._app.catalog.bury_video(
            video_id, "deleted, because somebody removed its .strm; `tgsyncd upload` stores it again"
        )
        await self._app.settle_deletions()

    async def _act(self, video_id: VideoId, action: str, why: str, *, by_hand: bool = False) -> None:
        try:
            if action == "delete" and by_hand:
                await self._bury(video_id)
            elif action == "delete":
                await self._app.delete_video(video_id)
            else:
                if by_hand:
                    # A source that comes back is published again; what somebody removed by hand is not.
                    await self._app.catalog.set_wanted(video_id, Wanted.WITHDRAWN)
                await self._app.publisher.withdraw(video_id)
        except NotFound:
            return
        except TgsyncdError as error:
            if self._rarely.is_due(f"{action} {type(error).__name__}"):
                done = "deleted" if action == "delete" else "withdrawn"
                _log.warn("{video_id}: not {done}: {error}", video_id=video_id, done=done, error=error)
        else:
            done = "deleted" if action == "delete" else "withdrawn"
            _log.info("{video_id}: {done}, because {why}", video_id=video_id, done=done, why=why)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    def _tell_doubt(self, root: str, doubt: str) -> None:
        """Warn once, until the doubt is gone."""
        if not doubt:
            self._doubts = {each for each in self._doubts if not each.startswith(f"{root}\0")}
        elif f"{root}\0{doubt}" not in self._doubts:
            self._doubts.add(f"{root}\0{doubt}")
            _log.warn("{doubt}; nothing is withdrawn or deleted", doubt=doubt)

    @property
    def doubts(self) -> list[str]:
        """What looks like a disk that is not there."""
        return sorted(each.partition("\0")[2] for each in self._doubts)


def _is_there(root: Path, *, may_be_empty: bool) -> bool:
    """Tell whether a library folder is there. Blocks."""
    return root.is_dir() and (may_be_empty or any(root.iterdir()))
