# SPDX-License-Identifier: MIT
"""
Writes of videos, revisions, published files and statistics, inside their transaction.

``writer.Writer`` begins and commits. Whatever changes a video ends with ``refresh_video``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.catalog import rows
from tgsyncd.catalog.transaction import refresh_video, require_revision, require_video
from tgsyncd.errors import PublishConflict
from tgsyncd.model import UNFINISHED, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.catalog.rows import CacheUse
    from tgsyncd.catalog.transaction import Transaction
    from tgsyncd.model import IngestPlan, SourceIdentity, VideoId, Wanted


def create_video(
    tx: Transaction, video_id: VideoId, *, original_filename: str, library: str, source_path: str
) -> None:
    """
    Insert a video without revisions. Does nothing when it exists.

    One whose id belonged to a deleted video begins with a capability generation that was never given out.
    """
    tx.db.execute(
        """INSERT INTO videos (video_id, original_filename, library, source_path, created_at, updated_at,
            capability_generation)
        VALUES (?1, CAST(?2 AS TEXT), ?3, CAST(?4 AS TEXT), ?5, ?5,
            1 + coalesce((SELECT last FROM revision_numbers WHERE video_id = ?1), 0))
        ON CONFLICT DO NOTHING""",
        (video_id, rows.text(original_filename), library, rows.text(source_path), tx.now_s),
    )


def begin_revision(tx: Transaction, video_id: VideoId, source: SourceIdentity) -> int:
    """
    Insert the next revision in stage ``found``; return its number (1 for the first).

    Numbers are never given twice to a video_id, also not after the video was deleted: segment URLs carry
    them and are cached as immutable.
    """
    require_video(tx, video_id)
    ((number,),) = tx.db.execute(
        """INSERT INTO revision_numbers (video_id, last) VALUES (?, 1)
        ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last""",
        (video_id,),
    ).fetchall()
    tx.db.execute(
        f"""INSERT INTO revisions (video_id, number, stage, {rows.SOURCE_COLUMNS}, created_at, updated_at)
        VALUES (?, ?, 'found', CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)""",  # noqa: S608 - constants
        (video_id, number, *rows.from_source(source), tx.now_s, tx.now_s),
    )
    _record_video_path(tx, video_id, source)
    refresh_video(tx, video_id)
    return int(number)


def record_source_path(tx: Transaction, video_id: VideoId, source: SourceIdentity) -> None:
    """Note that the newest revision's source file now stands at another path, inode or mtime."""
    require_video(tx, video_id)
    tx.db.execute(
        f"""UPDATE revisions SET ({rows.SOURCE_COLUMNS}, updated_at)
            = (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?)
        WHERE video_id = ?
          AND number = (SELECT max(number) FROM revisions WHERE video_id = ?)""",  # noqa: S608 - constants
        (*rows.from_source(source), tx.now_s, video_id, video_id),
    )
    _record_video_path(tx, video_id, source)
    refresh_video(tx, video_id)


def _record_video_path(tx: Transaction, video_id: VideoId, source: SourceIdentity) -> None:
    tx.db.execute(
        "UPDATE videos SET source_path = CAST(? AS TEXT) WHERE video_id = ?",
        (rows.text(source.path), video_id),
    )


def record_plan(tx: Transaction, video_id: VideoId, revision: int, plan: IngestPlan) -> None:
    """Store the plan and set the stage to ``probed``; clears the error."""
    tx.db.execute(
        "UPDATE revisions SET plan = ? WHERE video_id = ? AND number = ?",
        (rows.plan_to_json(plan), video_id, revision),
    )
    record_stage(tx, video_id, revision, Stage.PROBED)


def record_stage(tx: Transaction, video_id: VideoId, revision: int, stage: Stage) -> None:
    """Set the stage and clear the error."""
    changed = tx.db.execute(
        """UPDATE revisions SET stage = ?, error = NULL, next_attempt_at = NULL, updated_at = ?
        WHERE video_id = ? AND number = ?""",
        (stage.value, tx.now_s, video_id, revision),
    )
    require_revision(changed, video_id, revision)
    refresh_video(tx, video_id)


def record_error(
    tx: Transaction,
    video_id: VideoId,
    revision: int,
    error: str,
    next_attempt_at_s: float | None,
    *,
    is_attempt: bool = True,
) -> None:
    """Count an attempt, if it was one; keep the stage; None means that no attempt is planned."""
    changed = tx.db.execute(
        """UPDATE revisions SET error = CAST(? AS TEXT), next_attempt_at = ?,
            attempts = attempts + ?, updated_at = ?
        WHERE video_id = ? AND number = ?""",
        (rows.text(error), next_attempt_at_s, is_attempt, tx.now_s, video_id, revision),
    )
    require_revision(changed, video_id, revision)
    refresh_video(tx, video_id)


def publish_revision(tx: Transaction, video_id: VideoId, revision: int) -> None:
    """
    Make the revision the current one and its video ``published``. Stage ``published``.

    All older ones are superseded, also those that never came to play. What stands in the library is that of
    the older one and counts as unfinished, until it was published again.
    """
    tx.db.execute(
        """UPDATE revisions SET superseded_at = ? WHERE video_id = ? AND superseded_at IS NULL
        AND (number < ? OR number = (SELECT current_revision FROM videos WHERE video_id = ?))""",
        (tx.now_s, video_id, revision, video_id),
    )
    tx.db.execute(
        "UPDATE revisions SET superseded_at = NULL WHERE video_id = ? AND number = ?",
        (video_id, revision),
    )
    tx.db.execute(
        "UPDATE videos SET current_revision = ?, wanted = 'published' WHERE video_id = ?",
        (revision, video_id),
    )
    tx.db.execute(
        "UPDATE published_files SET sha256 = ? WHERE video_id = ? AND path LIKE '%.strm'",
        (UNFINISHED, video_id),
    )
    record_stage(tx, video_id, revision, Stage.PUBLISHED)


def set_wanted(tx: Transaction, video_id: VideoId, wanted: Wanted) -> None:
    """Note what the owner wants of the video."""
    require_video(tx, video_id)
    tx.db.execute("UPDATE videos SET wanted = ? WHERE video_id = ?", (wanted.value, video_id))
    refresh_video(tx, video_id)


def revoke_capabilities(tx: Transaction, video_id: VideoId) -> int:
    """Raise the capability generation, so that signed URLs given out open nothing; return the new one."""
    require_video(tx, video_id)
    ((generation,),) = tx.db.execute(
        """UPDATE videos SET capability_generation = capability_generation + 1, updated_at = ?
        WHERE video_id = ? RETURNING capability_generation""",
        (tx.now_s, video_id),
    ).fetchall()
    return int(generation)


def forget_restored(tx: Transaction) -> None:
    """Note that library and store are in line with the catalog that was restored. Idempotent."""
    tx.db.execute("DELETE FROM meta WHERE name = 'restored'")


def revoke_all_capabilities(tx: Transaction) -> int:
    """Raise the capability generation of every video; return how many videos there are."""
    return tx.db.execute(
        "UPDATE videos SET capability_generation = capability_generation + 1, updated_at = ?", (tx.now_s,)
    ).rowcount


def delete_video(tx: Transaction, video_id: VideoId) -> None:
    """
    Delete the video's rows; its documents and extras are owed as deletions. Idempotent.

    The rows that say which published files are ours go too: withdraw them first.
    """
    # What was revoked stays so when the id comes back: create_video counts on from here.
    tx.db.execute(
        """INSERT INTO revision_numbers (video_id, last)
        SELECT video_id, capability_generation FROM videos WHERE video_id = ?
        ON CONFLICT DO UPDATE SET last = max(last, excluded.last)""",
        (video_id,),
    )
    tx.db.execute("DELETE FROM videos WHERE video_id = ?", (video_id,))


def forget_empty_videos(tx: Transaction) -> int:
    """Delete videos without a revision: what an ingest leaves that is killed at once. Return how many."""
    return tx.db.execute(
        """DELETE FROM videos
        WHERE NOT EXISTS (SELECT 1 FROM revisions WHERE revisions.video_id = videos.video_id)"""
    ).rowcount


def bury_video(tx: Transaction, video_id: VideoId, reason: str) -> None:
    """
    Delete all revisions, and leave one that says why and is not to be tried until the file changes.

    The source file still stands there: without that one it would be stored again.
    """
    require_video(tx, video_id)
    newest = tx.db.execute(f"{rows.REVISION} WHERE video_id = ? ORDER BY number", (video_id,)).fetchall()
    revisions = [rows.to_revision(row) for row in newest]
    if not revisions:
        return
    number = begin_revision(tx, video_id, revisions[-1].source)
    for revision in revisions:
        delete_revision(tx, video_id, revision.number)
    record_error(tx, video_id, number, reason, None)


def delete_revision(tx: Transaction, video_id: VideoId, revision: int) -> None:
    """Delete one revision's rows; its documents and extras are owed as deletions. Idempotent."""
    key = (video_id, revision)
    tx.db.execute("DELETE FROM revisions WHERE video_id = ? AND number = ?", key)
    tx.db.execute("DELETE FROM cache_metadata WHERE video_id = ? AND revision = ?", key)
    refresh_video(tx, video_id)


def record_published_file(tx: Transaction, video_id: VideoId, path: str, sha256: str) -> None:
    """
    Note a file written into the library; also before it is written, so that it is known as ours.

    Raises
        PublishConflict when another video's file stands there.
    """
    require_video(tx, video_id)
    owner = tx.db.execute(
        """INSERT INTO published_files (path, video_id, sha256, updated_at)
        VALUES (CAST(? AS TEXT), ?, ?, ?)
        ON CONFLICT DO UPDATE SET updated_at = excluded.updated_at,
            sha256 = CASE video_id WHEN excluded.video_id THEN excluded.sha256 ELSE sha256 END
        RETURNING video_id""",
        (rows.text(path), video_id, sha256, tx.now_s),
    ).fetchall()[0][0]
    if owner != video_id:
        raise PublishConflict(
            f"{path!r} is already published for {owner}",
            hint=f"withdraw {owner}, or give one of the two another name",
        )


def forget_published_file(tx: Transaction, video_id: VideoId, path: str) -> None:
    """Note that a published file was removed. Idempotent."""
    tx.db.execute(
        "DELETE FROM published_files WHERE path = CAST(? AS TEXT) AND video_id = ?",
        (rows.text(path), video_id),
    )


def record_cache_use(tx: Transaction, uses: Sequence[CacheUse]) -> None:
    """Add what the cache counted; what belongs to a video that was deleted meanwhile is left out."""
    tx.db.executemany(
        f"""INSERT INTO cache_metadata ({rows.CACHE_COLUMNS})
        SELECT video_id, ?, ?, ?, ?, ?, ?, ? FROM videos WHERE video_id = ?
        ON CONFLICT DO UPDATE SET cached_at = excluded.cached_at, cache_size = excluded.cache_size,
            access_count = access_count + excluded.access_count,
            last_accessed = max(last_accessed, excluded.last_accessed)""",  # noqa: S608 - constants
        [
            (
                use.revision,
                use.rendition,
                use.segment_filename,
                use.cached_at_s,
                use.accesses,
                use.last_accessed_s,
                use.cache_size_bytes,
                use.video_id,
            )
            for use in uses
        ],
    )


def forget_cache_metadata(tx: Transaction, before_s: float) -> int:
    """Forget segments last asked for before this time (seconds since the epoch); return how many."""
    return tx.db.execute("DELETE FROM cache_metadata WHERE last_accessed < ?", (before_s,)).rowcount
