# SPDX-License-Identifier: MIT
"""
The first start after `tgsyncd catalog restore`: the catalog is older than the store and the library.

Before anything is stored or published: videos whose documents were deleted since are withdrawn, every
``.strm`` is made what the catalog says, and those that open nothing any more are removed. Begun again after a
kill, it is done again.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.formats import hls
from tgsyncd.model import Wanted
from tgsyncd.service.addresses import first_line, rewrite_strms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tgsyncd.daemon import Application
    from tgsyncd.model import VideoId

__all__ = ["settle_restored"]

_log = Logger()
_T = TypeVar("_T")

LOST = "its documents were deleted after the copy of the catalog was made that was restored"


async def settle_restored(app: Application, *, reactor: Any) -> None:
    """
    Bring store and library in line with a restored catalog; does nothing where none was restored.

    Raises StoreUnavailable when the store cannot be asked now, CatalogError.
    """
    mark = app.catalog.restored()
    if mark is None:
        return
    settling = _Settling(app, reactor)
    suspects = mark.suspects
    if suspects is None:
        suspects = tuple(video.video_id for video in app.catalog.videos())
        await settling.believe_releases()
    _log.info("the catalog was restored: {count} videos are looked for in the store", count=len(suspects))
    lost = [video_id for video_id in suspects if not await settling.is_there(video_id)]
    for video_id in lost:
        await settling.give_up(video_id)
    strms = await app.catalog.published_strms()
    rewritten = await rewrite_strms(app, strms, reactor=reactor, read=True)
    strays = await settling.remove_strays({strm.path for strm in strms})
    await app.catalog.forget_restored()
    _log.info(
        "the restored catalog is in force: {lost} videos are gone from the store, {rewritten} .strm files "
        "were written anew, {strays} that open nothing were removed",
        lost=len(lost), rewritten=rewritten, strays=strays,
    )  # fmt: skip


class _Settling:
    def __init__(self, app: Application, reactor: Any) -> None:
        self._app = app
        self._reactor = reactor

    async def is_there(self, video_id: VideoId) -> bool:
        """Tell whether the store has what the video plays; one document of it stands for all."""
        video = self._app.catalog.video(video_id)
        if video is None or video.current_revision is None:
            return True  # Nothing plays: what is unfinished is gone on with, and looked at then.
        for rendition in self._app.catalog.renditions(video_id, video.current_revision):
            for document in self._app.catalog.documents(rendition.rendition_id)[:1]:
                return await self._app.store.exists(document.ref)
        return True

    async def give_up(self, video_id: VideoId) -> None:
        """Take a video that does not play out of the library; a source file that stands is stored anew."""
        video = self._app.catalog.video(video_id)
        if video is None or video.current_revision is None:
            return
        await self._app.publisher.withdraw(video_id)
        if await self._in_thread(partial(os.path.lexists, video.source_path)):
            await self._app.catalog.delete_video(video_id)
            _log.warn("{video_id}: {lost}; its source file is stored again", video_id=video_id, lost=LOST)
        else:
            await self._app.catalog.set_wanted(video_id, Wanted.WITHDRAWN)
            await self._app.catalog.record_error(video_id, video.current_revision, LOST, None)
            _log.error("{video_id}: {lost}, and its source file is gone", video_id=video_id, lost=LOST)

    async def believe_releases(self) -> None:
        """
        Take source files that are gone for those that we moved or deleted ourselves, where that is our work.

        Nobody else could have told us: the catalog that knew is lost.
        """
        for video in self._app.catalog.videos():
            library = self._app.config.library(video.library)
            number = video.current_revision
            if library is None or library.after_publish == "keep" or number is None:
                continue
            if not await self._in_thread(partial(os.path.lexists, video.source_path)):
                await self._app.catalog.owe_source_release(video.video_id, number)
                await self._app.catalog.settle_source_release(video.video_id, number)

    async def remove_strays(self, known: set[str]) -> int:
        """Remove ``.strm`` files that name this server, that the catalog does not know, and open nothing."""
        roots = {self._app.config.publish_dir, *(each.publish for each in self._app.config.libraries)}
        bases = [url.rstrip("/") for url in self._app.config.server.public_urls]
        found = await self._in_thread(partial(_find_strms, roots, bases))
        count = 0
        for path, rest in found:
            if str(path) in known or self._opens(rest):
                continue
            try:
                await self._in_thread(path.unlink)
            except OSError as error:
                _log.warn("{path} opens nothing, and stays: {error}", path=str(path), error=error.strerror)
                continue
            count += 1
            _log.info("{path} opened nothing any more and was removed", path=str(path))
            if self._app.notifier is not None:
                await self._app.notifier.notify([path], removed=True)
        return count

    def _opens(self, rest: str) -> bool:
        """Tell whether the path of a URL plays a video; what is no path of ours is left alone."""
        url = hls.parse_path(rest.encode())
        if not isinstance(url, hls.PlaybackUrl) or not isinstance(url.target, hls.VideoPlaylist):
            return True
        video = self._app.catalog.video(url.target.video_id)
        if video is None or video.current_revision is None:
            return False
        return self._app.playlist_url(video.video_id) == f"{self._app.public_url}{rest}"

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)


def _find_strms(roots: Iterable[Path], bases: Sequence[str]) -> list[tuple[Path, str]]:
    """Return the ``.strm`` files whose URL begins with one of ``bases``, with the rest of it."""
    found = []
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                url = first_line(path) if name.endswith(".strm") else ""
                base = next((each for each in bases if url.startswith(f"{each}/")), None)
                if base is not None:
                    found.append((path, url.removeprefix(base)))
    return found
