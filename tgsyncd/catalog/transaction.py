# SPDX-License-Identifier: MIT
"""A transaction that has begun, and what every write in it has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.errors import NotFound, TgsyncdError

if TYPE_CHECKING:
    import sqlite3

    from tgsyncd.model import VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that has begun, and the time that it writes down."""

    db: sqlite3.Connection
    now_s: float


class CommitThenRaise(Exception):  # not an error of its own: it carries one past the commit
    """Commit what was done so far, then raise the error."""

    def __init__(self, error: TgsyncdError) -> None:
        super().__init__(error)
        self.error = error


def require_video(tx: Transaction, video_id: VideoId) -> None:
    """Raise NotFound when there is no such video."""
    if tx.db.execute("SELECT 1 FROM videos WHERE video_id = ?", (video_id,)).fetchone() is None:
        message = f"there is no video {video_id}"
        raise NotFound(message, hint="`tgsyncd list` shows those there are")


def require_revision(changed: sqlite3.Cursor, video_id: VideoId, revision: int) -> None:
    """Raise NotFound when the statement that was to change this revision changed nothing."""
    if not changed.rowcount:
        message = f"{video_id} has no revision {revision}: it was deleted meanwhile"
        raise NotFound(message)


def count_segments(tx: Transaction, rendition_id: int) -> None:
    """Derive a rendition's count of segments and, until it is complete, its duration; then its video."""
    found = tx.db.execute(
        """UPDATE renditions SET updated_at = ?1, total_segments = s.segments,
            duration = iif(is_complete, duration, s.seconds)
        FROM (SELECT count(*) AS segments, coalesce(sum(duration), 0.0) AS seconds
              FROM rendition_segments WHERE rendition_id = ?2) AS s
        WHERE rendition_id = ?2 RETURNING video_id""",
        (tx.now_s, rendition_id),
    ).fetchall()
    if not found:
        message = "the rendition was deleted meanwhile"
        raise NotFound(message)
    refresh_video(tx, found[0][0])


_REFRESH_VIDEO = """
WITH newest AS (
    SELECT number, error FROM revisions WHERE video_id = ?2 ORDER BY number DESC LIMIT 1
), shown AS (
    SELECT coalesce((SELECT current_revision FROM videos WHERE video_id = ?2),
                    (SELECT number FROM newest)) AS number
), main AS (
    SELECT total_segments, duration FROM renditions
    WHERE video_id = ?2 AND revision = (SELECT number FROM shown)
    ORDER BY name <> 'main', kind <> 'main', rendition_id LIMIT 1
)
UPDATE videos SET
    updated_at = ?1,
    status = CASE WHEN current_revision IS NOT NULL THEN 'active'
                  WHEN (SELECT error FROM newest) IS NOT NULL THEN 'error'
                  ELSE 'processing' END,
    file_size = coalesce((SELECT source_size FROM revisions
                          WHERE video_id = ?2 AND number = (SELECT number FROM shown)), 0),
    total_segments = coalesce((SELECT total_segments FROM main), 0),
    total_duration = coalesce((SELECT duration FROM main), 0.0)
WHERE video_id = ?2
"""


def refresh_video(tx: Transaction, video_id: VideoId) -> None:
    """Derive status and totals from the revision that plays, or from the newest while none does."""
    tx.db.execute(_REFRESH_VIDEO, (tx.now_s, video_id))
