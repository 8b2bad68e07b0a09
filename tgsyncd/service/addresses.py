# SPDX-License-Identifier: MIT
"""
The URLs in ``.strm`` files: written anew when they have changed, revoked when the owner says so.

Order of a revocation: the generation is raised (durably: from here on the old URL opens nothing, whatever
happens), then each ``.strm`` is written. A kill in between leaves ``.strm`` files whose sha256 in the
catalog is not that of their URL; the job ``published``, which runs at every start and each
``scan.interval``, writes those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.daemon import UploadOptions
from tgsyncd.errors import Refused, TgsyncdError
from tgsyncd.ingest.names import check_video_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.daemon import Application
    from tgsyncd.model import PublishedStrm, VideoId

__all__ = ["Rotation", "first_line", "rewrite_strms", "rotate"]

_log = Logger()

BATCH = 200
"""Videos looked at before the reactor gets its turn."""
_LONGEST_STRM_BYTES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a revocation did."""

    videos: int
    """Whose signed URLs open nothing any more."""
    strms_rewritten: int
    strms_left: int
    """Could not be written now, or are not there; the job ``published`` looks after them."""


async def rotate(app: Application, video_id: VideoId | None, *, reactor: Any) -> Rotation:
    """
    Revoke the signed URLs of one video, or of all, and write their ``.strm`` files anew.

    Raises Refused when playback is open, NotFound for an unknown video, CatalogError.
    """
    if app.config.auth.playback != "signed":
        raise Refused(
            "playback is open: there is no signed URL that could be revoked",
            hint="set auth.playback to signed; the daemon then writes the .strm files anew",
        )
    if video_id is None:
        videos = await app.catalog.revoke_all_capabilities()
    else:
        await app.catalog.revoke_capabilities(check_video_id(video_id))
        videos = 1
    _log.info("the signed URLs of {what} are revoked", what=video_id or f"all {videos} videos")
    written = 0
    # Twice: what was just being published may have been written with the URL of a moment before.
    for _ in range(2):
        written += await rewrite_strms(app, await _stale_strms(app, video_id, reactor), reactor=reactor)
    left = len(await _stale_strms(app, video_id, reactor))
    return Rotation(videos=videos, strms_rewritten=written, strms_left=left)


async def _stale_strms(app: Application, video_id: VideoId | None, reactor: Any) -> Sequence[PublishedStrm]:
    """Return the ``.strm`` files, of this video or of all, that hold another URL than they should."""
    found = []
    for number, strm in enumerate(await app.catalog.published_strms()):
        if number % BATCH == BATCH - 1:
            await task.deferLater(reactor, 0)
        if video_id in {None, strm.video_id} and strm.sha256 != _digest_of(app, strm.video_id):
            found.append(strm)
    return found


def _digest_of(app: Application, video_id: VideoId) -> str:
    return hashlib.sha256(f"{app.playlist_url(video_id)}\n".encode()).hexdigest()


async def rewrite_strms(
    app: Application, strms: Sequence[PublishedStrm], *, reactor: Any, read: bool = False
) -> int:
    """
    Write the ``.strm`` files whose URL is another one now; return how many. Those that are gone stay so.

    ``read``: believe not the catalog but what stands in the file.
    """
    count, left = 0, []
    for number, strm in enumerate(strms):
        if number % BATCH == BATCH - 1:
            await task.deferLater(reactor, 0)
        data = f"{app.playlist_url(strm.video_id)}\n".encode()
        if not read and hashlib.sha256(data).hexdigest() == strm.sha256:
            continue
        stands = await deferToThreadPool(reactor, reactor.getThreadPool(), _stands, strm.path)
        if stands is None or (read and stands == data):
            continue
        options = app.ingest_options(Path(strm.path), UploadOptions())
        try:
            await app.publisher.rewrite(strm.video_id, Path(strm.path), data, options.publish)
        except TgsyncdError as error:
            left.append(f"{strm.path} keeps its old address: {error}")
        else:
            count += 1
    _tell(count, left)
    return count


def _tell(count: int, left: Sequence[str]) -> None:
    if left:
        more = f"; {len(left) - 1} others likewise" if len(left) > 1 else ""
        _log.warn("{first}{more}", first=left[0], more=more)
    if count:
        _log.info("{count} .strm files got the address that the server has now", count=count)


def _stands(path: str) -> bytes | None:
    """Return what stands in the file, at most a little; None when it is not there."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_LONGEST_STRM_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def first_line(path: Path) -> str:
    """Return the first line of a ``.strm``; empty when it cannot be read. Blocks."""
    text = (_stands(str(path)) or b"").decode("utf-8", "replace")
    return text.partition("\n")[0].strip()
