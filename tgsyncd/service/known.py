# SPDX-License-Identifier: MIT
"""What the catalog knows of one file: ``catalog.known_sources`` for a single path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.model import UNFINISHED, KnownSource

if TYPE_CHECKING:
    from tgsyncd.ports import CatalogReader


def known_source(reader: CatalogReader, path: str) -> KnownSource | None:
    """Return what is known of the source file at this path."""
    video = reader.video_by_source(path)
    revision = reader.newest_revision(video.video_id) if video else None
    if video is None or revision is None:
        return None
    return KnownSource(
        video_id=video.video_id,
        library=video.library,
        path=path,
        size_bytes=revision.source.size_bytes,
        mtime_ns=revision.source.mtime_ns,
        device=revision.source.device,
        stage=revision.stage,
        is_failed=revision.error is not None,
        attempts=revision.attempts,
        next_attempt_at_s=revision.next_attempt_at_s,
        wanted=video.wanted,
        is_published=any(
            path.endswith(".strm") and sha256 != UNFINISHED
            for path, sha256 in reader.published_files(video.video_id).items()
        ),
        is_released=reader.is_source_released(video.video_id, revision.number),
    )
