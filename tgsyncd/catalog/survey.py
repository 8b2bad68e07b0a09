# SPDX-License-Identifier: MIT
"""
Reads of the whole catalog at once, on the writer thread.

A hundred thousand rows take half a second: too long for the reactor thread, where the other reads run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tgsyncd.catalog import rows
from tgsyncd.model import KnownSource, PublishedStrm, Stage, Wanted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from tgsyncd.model import DocumentRef, Video, VideoId

Result = TypeVar("Result")

_SOURCES = """
SELECT v.video_id, v.library, r.source_path, r.source_size, r.source_mtime_ns, r.source_device, r.stage,
       r.error IS NOT NULL, r.attempts, r.next_attempt_at, v.wanted,
       EXISTS (SELECT 1 FROM published_files AS p
               WHERE p.video_id = v.video_id AND p.path LIKE '%.strm' AND p.sha256 <> ''),
       EXISTS (SELECT 1 FROM source_releases AS s WHERE s.video_id = v.video_id AND s.revision = r.number)
FROM videos AS v JOIN revisions AS r
  ON r.video_id = v.video_id
 AND r.number = (SELECT max(number) FROM revisions WHERE video_id = v.video_id)"""
_PATH = 2  # which column of them
_STRMS = """
SELECT v.video_id, v.library, p.path, p.sha256, v.capability_generation
FROM published_files AS p JOIN videos AS v USING (video_id)
WHERE p.path LIKE '%.strm' ORDER BY p.path"""
_UNPUBLISHED = f"""{rows.VIDEO}
WHERE v.wanted = 'published' AND v.current_revision IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM published_files AS p WHERE p.video_id = v.video_id)
ORDER BY v.video_id"""  # noqa: S608 - a constant of rows

_STALEST = f"""
SELECT {rows.REF_COLUMNS},
       (SELECT json_group_object(CAST(bot_id AS TEXT), file_id) FROM document_files AS f
        WHERE f.document_id = d.document_id),
       d.document_id, coalesce(r.video_id, e.video_id)
FROM documents AS d LEFT JOIN renditions AS r ON r.rendition_id = d.rendition_id
                    LEFT JOIN extras AS e ON e.extra_id = d.extra_id
ORDER BY d.verified_at, d.document_id LIMIT ?"""  # noqa: S608 - constants of rows
_NAMES = "SELECT file_unique_id FROM documents UNION ALL SELECT file_unique_id FROM owed_deletions"


class KnownSources:
    """
    The source file of each video's newest revision, to be gone through or asked for by path.

    The rows are kept as SQLite gives them and made a KnownSource when somebody looks: a hundred thousand
    objects make Python's garbage collector hold the whole process for 100 ms, tuples of atoms it passes over.
    """

    def __init__(self, found: Sequence[rows.Row]) -> None:
        self._rows = found
        self._by_path = {row[_PATH]: row for row in found}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[KnownSource]:
        return map(_to_source, self._rows)

    def get(self, path: str, /) -> KnownSource | None:
        """Return the one whose source stands, or stood, at this path."""
        row = self._by_path.get(path)
        return None if row is None else _to_source(row)


class Survey:
    """What ``tgsyncd run`` compares the disk with."""

    async def _on_writer(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        raise NotImplementedError

    async def _survey(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a long read where it holds up nobody: on the writer thread, unless there is none."""
        return await self._on_writer(job)

    async def known_sources(self) -> KnownSources:
        """Return the source file of each video's newest revision."""
        return await self._survey(lambda db: KnownSources(db.execute(_SOURCES).fetchall()))

    async def published_strms(self) -> Sequence[PublishedStrm]:
        """Return every ``.strm`` that we wrote, by path."""
        return await self._on_writer(lambda db: [_to_strm(row) for row in db.execute(_STRMS)])

    async def unpublished_videos(self) -> Sequence[Video]:
        """Return videos that could be played and are wanted, and of which nothing stands in the library."""
        return await self._on_writer(lambda db: [rows.to_video(row) for row in db.execute(_UNPUBLISHED)])

    async def recorded_names(self) -> frozenset[str]:
        """Return the file_unique_id of every document that is stored, or owed as a deletion."""
        return await self._on_writer(lambda db: frozenset(row[0] for row in db.execute(_NAMES)))

    async def stalest_documents(self, limit: int) -> Sequence[tuple[VideoId, int, DocumentRef]]:
        """Return the documents that were not read back for longest, or never: video, document_id, place."""
        return await self._on_writer(
            lambda db: [(row[7], row[6], rows.to_ref(row)) for row in db.execute(_STALEST, (limit,))]
        )

    async def ping(self) -> None:
        """Return when the writer thread and the file answer."""
        await self._on_writer(lambda db: db.execute("SELECT count(*) FROM meta").fetchone())


def _to_source(row: rows.Row) -> KnownSource:
    return KnownSource(
        video_id=row[0],
        library=row[1],
        path=row[2],
        size_bytes=row[3],
        mtime_ns=row[4],
        device=rows.to_unsigned(row[5]),
        stage=Stage(row[6]),
        is_failed=bool(row[7]),
        attempts=row[8],
        next_attempt_at_s=row[9],
        wanted=Wanted(row[10]),
        is_published=bool(row[11]),
        is_released=bool(row[12]),
    )


def _to_strm(row: rows.Row) -> PublishedStrm:
    return PublishedStrm(
        video_id=row[0], library=row[1], path=row[2], sha256=row[3], capability_generation=row[4]
    )
