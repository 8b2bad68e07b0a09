# SPDX-License-Identifier: MIT
"""
Reads, on the calling thread's own read-only connection.

All are indexed: one thing takes 7-20 µs with a million segments (``benchmarks/catalog.py``).
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from tgsyncd.catalog import rows
from tgsyncd.catalog.database import translate, user_version
from tgsyncd.errors import CatalogError
from tgsyncd.model import CatalogStats, StoredExtra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tgsyncd.catalog.rows import CacheMetadata, Intent, RestoredMark, Row
    from tgsyncd.model import (
        Document,
        DocumentRef,
        Rendition,
        Revision,
        Segment,
        SourceIdentity,
        Video,
        VideoId,
    )

# Statements are constants, so that sqlite3 finds them prepared (it keeps 256 by their text).
_ONE_VIDEO = f"{rows.VIDEO} WHERE v.video_id = ?"
_VIDEOS = f"{rows.VIDEO} WHERE v.video_id > ? ORDER BY v.video_id LIMIT ?"
_VIDEO_BY_SOURCE = f"""{rows.VIDEO} WHERE v.source_path = CAST(? AS TEXT)
ORDER BY v.created_at DESC, v.video_id LIMIT 1"""
_SOURCES_BY_SIZE = f"""
SELECT {rows.SOURCE_COLUMNS}, r.video_id FROM revisions AS r
WHERE source_size = ? AND number = (SELECT max(number) FROM revisions WHERE video_id = r.video_id)
ORDER BY r.video_id"""  # noqa: S608 - constants of rows
_ONE_REVISION = f"{rows.REVISION} WHERE video_id = ? AND number = ?"
_NEWEST_REVISION = f"{rows.REVISION} WHERE video_id = ? ORDER BY number DESC LIMIT 1"
_ALL_REVISIONS = f"{rows.REVISION} WHERE video_id = ? ORDER BY number"
_DUE_REVISIONS = f"{rows.REVISION} WHERE next_attempt_at <= ? ORDER BY next_attempt_at"
_SUPERSEDED = """
SELECT r.video_id, r.number FROM revisions AS r JOIN videos AS v USING (video_id)
WHERE r.superseded_at <= ? AND r.number IS NOT v.current_revision ORDER BY r.superseded_at"""
_RENDITIONS = f"""{rows.RENDITION} WHERE video_id = ? AND revision = ?
ORDER BY name <> 'main', kind <> 'main', rendition_id"""
_ONE_RENDITION = f"{rows.RENDITION} WHERE video_id = ? AND revision = ? AND name = ?"
_SEGMENTS = f"{rows.SEGMENT} WHERE rendition_id = ? ORDER BY segment_order"
_ONE_SEGMENT = f"{rows.SEGMENT} WHERE rendition_id = ? AND segment_order = ?"
_DOCUMENTS = f"{rows.DOCUMENT} WHERE rendition_id = ? ORDER BY byte_offset"
# Documents do not overlap: the one that holds `start` is the last that begins at or before it.
_COVERING = f"""{rows.DOCUMENT}
WHERE rendition_id = ?1 AND byte_offset < ?3 AND byte_offset + length > ?2
  AND byte_offset >= coalesce(
      (SELECT max(byte_offset) FROM documents WHERE rendition_id = ?1 AND byte_offset <= ?2), 0)
ORDER BY byte_offset"""  # noqa: S608 - constants of rows
_EXTRAS = f"""
SELECT {rows.REF_COLUMNS},
       (SELECT json_group_object(CAST(bot_id AS TEXT), file_id) FROM document_files AS f
        WHERE f.document_id = d.document_id),
       document_id, e.name, verified_at
FROM extras AS e JOIN documents AS d USING (extra_id)
WHERE video_id = ? AND revision = ? ORDER BY e.name"""  # noqa: S608 - constants of rows
_OWED = f"""
SELECT {rows.REF_COLUMNS},
       (SELECT json_group_object(CAST(bot_id AS TEXT), file_id) FROM owed_deletion_files AS f
        WHERE f.deletion_id = o.deletion_id)
FROM owed_deletions AS o ORDER BY deletion_id LIMIT ?"""  # noqa: S608 - likewise
_RELEASES = """
SELECT s.video_id, s.revision FROM source_releases AS s JOIN videos AS v USING (video_id)
WHERE s.done_at IS NULL AND v.current_revision = s.revision ORDER BY s.owed_at"""
_CACHE = f"SELECT {rows.CACHE_COLUMNS} FROM cache_metadata"  # noqa: S608 - likewise
_CACHE_OF_ONE = f"{_CACHE} WHERE video_id = ? ORDER BY last_accessed DESC LIMIT ?"
_CACHE_OF_ALL = f"{_CACHE} ORDER BY last_accessed DESC LIMIT ?"
# Segments are counted when they are recorded: counting a million rows here would hold the reactor for 50 ms.
_STATS = """
SELECT (SELECT count(*) FROM videos), (SELECT count(*) FROM revisions), (SELECT count(*) FROM renditions),
       (SELECT coalesce(sum(total_segments), 0) FROM renditions),
       (SELECT count(*) FROM documents), (SELECT coalesce(sum(size), 0) FROM documents),
       (SELECT count(*) FROM owed_deletions), (SELECT count(*) FROM intents),
       (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size),
       (SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size)"""


class Reader:
    """The reads of ``ports.CatalogReader``, and some more. All raise CatalogError when the file fails."""

    path: Path
    _read_db: sqlite3.Connection | None

    def _rows(self, sql: str, *params: object) -> list[Row]:
        if self._read_db is None:
            message = "the catalog is closed"
            raise CatalogError(message)
        try:
            # All rows at once: a statement left in the middle holds a read transaction open, and the WAL
            # could not be reused.
            return self._read_db.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise translate(self.path, error) from error

    def library_id(self) -> str:
        """Return the random id (16 hex digits) that this catalog was born with."""
        ((value,),) = self._rows("SELECT value FROM meta WHERE name = 'library_id'")
        return str(value)

    def change_number(self) -> int:
        """Return what changes with each commit of another connection: we have one that only reads."""
        # SQLite's documentation of PRAGMA data_version; also for commits by other processes.
        ((number,),) = self._rows("PRAGMA data_version")
        return int(number)

    def restored(self) -> RestoredMark | None:
        """Return what `tgsyncd catalog restore` noted, until the daemon has settled it."""
        found = self._rows("SELECT value FROM meta WHERE name = 'restored'")
        return rows.to_restored_mark(found[0][0]) if found else None

    def video(self, video_id: VideoId) -> Video | None:
        """Return the video, if there is one."""
        found = self._rows(_ONE_VIDEO, video_id)
        return rows.to_video(found[0]) if found else None

    def videos(self, *, after: str = "", limit: int = -1) -> Sequence[Video]:
        """Return videos by video_id: those behind ``after``, at most ``limit``; all by default."""
        return [rows.to_video(row) for row in self._rows(_VIDEOS, after, limit)]

    def video_by_source(self, path: str) -> Video | None:
        """Return the video whose source file stands (or stood) at this path; of several the youngest."""
        found = self._rows(_VIDEO_BY_SOURCE, rows.text(path))
        return rows.to_video(found[0]) if found else None

    def videos_by_size(self, size_bytes: int) -> Sequence[tuple[Video, SourceIdentity]]:
        """Return videos whose newest revision's source has this size, with that source."""
        return [
            (rows.to_video(self._rows(_ONE_VIDEO, row[-1])[0]), rows.to_source(row))
            for row in self._rows(_SOURCES_BY_SIZE, size_bytes)
        ]

    def revision(self, video_id: VideoId, number: int) -> Revision | None:
        """Return the revision, if there is one. CatalogError when its plan cannot be read."""
        found = self._rows(_ONE_REVISION, video_id, number)
        return rows.to_revision(found[0]) if found else None

    def newest_revision(self, video_id: VideoId) -> Revision | None:
        """Return the revision with the highest number."""
        found = self._rows(_NEWEST_REVISION, video_id)
        return rows.to_revision(found[0]) if found else None

    def revisions(self, video_id: VideoId) -> Sequence[Revision]:
        """Return the revisions of a video by number."""
        return [rows.to_revision(row) for row in self._rows(_ALL_REVISIONS, video_id)]

    def revisions_due(self, now_s: float) -> Sequence[Revision]:
        """Return the revisions that failed and whose next attempt is due, the longest due first."""
        return [rows.to_revision(row) for row in self._rows(_DUE_REVISIONS, now_s)]

    def superseded_revisions(self, before_s: float) -> Sequence[tuple[VideoId, int]]:
        """Return revisions that stopped being the current one at or before this time, oldest first."""
        return [(row[0], row[1]) for row in self._rows(_SUPERSEDED, before_s)]

    def renditions(self, video_id: VideoId, revision: int) -> Sequence[Rendition]:
        """Return the renditions, the main one first."""
        return [rows.to_rendition(row) for row in self._rows(_RENDITIONS, video_id, revision)]

    def rendition(self, video_id: VideoId, revision: int, name: str) -> Rendition | None:
        """Return the rendition of this name, if there is one."""
        found = self._rows(_ONE_RENDITION, video_id, revision, name)
        return rows.to_rendition(found[0]) if found else None

    def segments(self, rendition_id: int) -> Sequence[Segment]:
        """Return the segments in order."""
        return [rows.to_segment(row) for row in self._rows(_SEGMENTS, rendition_id)]

    def segment(self, rendition_id: int, order: int) -> Segment | None:
        """Return one segment, if there is one of this order."""
        found = self._rows(_ONE_SEGMENT, rendition_id, order)
        return rows.to_segment(found[0]) if found else None

    def documents(self, rendition_id: int) -> Sequence[Document]:
        """Return the documents by offset."""
        return [rows.to_document(row) for row in self._rows(_DOCUMENTS, rendition_id)]

    def documents_covering(self, rendition_id: int, start: int, stop: int) -> Sequence[Document]:
        """Return the documents that hold any of the stream's bytes ``[start, stop)``, by offset."""
        if stop <= start:
            return []
        return [rows.to_document(row) for row in self._rows(_COVERING, rendition_id, start, stop)]

    def extras(self, video_id: VideoId, revision: int) -> Sequence[StoredExtra]:
        """Return what is stored beside the streams, by name."""
        return [
            StoredExtra(document_id=row[6], name=row[7], verified_at_s=row[8], ref=rows.to_ref(row))
            for row in self._rows(_EXTRAS, video_id, revision)
        ]

    def published_files(self, video_id: VideoId) -> Mapping[str, str]:
        """Return the absolute path of each file we published for the video, with its sha256."""
        sql = "SELECT path, sha256 FROM published_files WHERE video_id = ? ORDER BY path"
        return dict(self._rows(sql, video_id))

    def publisher_of(self, path: str) -> VideoId | None:
        """Return the video for which we published the file at this absolute path."""
        sql = "SELECT video_id FROM published_files WHERE path = CAST(? AS TEXT)"
        found = self._rows(sql, rows.text(path))
        return found[0][0] if found else None

    def owed_deletions(self, limit: int) -> Sequence[DocumentRef]:
        """Return documents that the store still has to delete, oldest first."""
        return [rows.to_ref(row) for row in self._rows(_OWED, limit)]

    def owed_source_releases(self) -> Sequence[tuple[VideoId, int]]:
        """Return revisions that are published and whose source files are still to be moved or deleted."""
        return [(row[0], row[1]) for row in self._rows(_RELEASES)]

    def is_source_released(self, video_id: VideoId, revision: int) -> bool:
        """Tell whether this revision's source file was, or shall be, moved or deleted by us."""
        sql = "SELECT 1 FROM source_releases WHERE video_id = ? AND revision = ?"
        return bool(self._rows(sql, video_id, revision))

    def is_recorded(self, chat_id: int, message_id: int) -> bool:
        """Tell whether a document stands, or is owed as a deletion, in this message."""
        sql = """SELECT EXISTS (SELECT 1 FROM documents WHERE chat_id = ?1 AND message_id = ?2)
            OR EXISTS (SELECT 1 FROM owed_deletions WHERE chat_id = ?1 AND message_id = ?2)"""
        return bool(self._rows(sql, chat_id, message_id)[0][0])

    def intents(self) -> Sequence[Intent]:
        """Return uploads that began and are neither recorded nor forgotten, oldest first."""
        sql = f"SELECT {rows.INTENT_COLUMNS} FROM intents ORDER BY intent_id"  # noqa: S608 - a constant
        return [rows.to_intent(row) for row in self._rows(sql)]

    def cache_metadata(
        self, video_id: VideoId | None = None, *, limit: int = 1_000
    ) -> Sequence[CacheMetadata]:
        """Return what the cache saw (of one video, or of all), last used first."""
        params = (limit,) if video_id is None else (video_id, limit)
        sql = _CACHE_OF_ALL if video_id is None else _CACHE_OF_ONE
        return [rows.to_cache_metadata(row) for row in self._rows(sql, *params)]

    def stats(self) -> CatalogStats:
        """Return what ``db-stats`` shows."""
        by_status = self._rows("SELECT status, count(*) FROM videos GROUP BY status ORDER BY status")
        (counts,) = self._rows(_STATS)
        assert self._read_db is not None
        return CatalogStats(
            schema_version=user_version(self._read_db),
            videos=counts[0],
            videos_by_status=dict(by_status),
            revisions=counts[1],
            renditions=counts[2],
            segments=counts[3],
            documents=counts[4],
            stored_bytes=counts[5],
            deletions_owed=counts[6],
            intents_open=counts[7],
            file_bytes=counts[8],
            free_bytes=counts[9],
        )
