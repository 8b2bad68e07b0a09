# SPDX-License-Identifier: MIT
"""
Take over from a replaced catalog what a restored copy cannot know: what was stored since the copy was made.

Video by video, so that a damaged file gives what can be read of it. All blocks.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tgsyncd.catalog import rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TakenOver", "take_over"]

Row = tuple[Any, ...]

BY_VIDEO = ("videos", "revisions", "source_releases", "published_files")
"""Tables whose rows are copied as they are, parents first."""
FOREVER = 1_000_000
"""Ids given out since the copy was made are not known where the old file cannot be read: skip so many."""
REVISIONS_SKIPPED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What became of the two catalogs' videos."""

    adopted: tuple[str, ...] = ()
    """Not in the copy, and whole in the old catalog: stored since."""
    newer: tuple[str, ...] = ()
    """In both; another revision was published since, whose documents are the ones that are there."""
    lost: tuple[str, ...] = ()
    """Not in the copy, and not whole in the old catalog."""
    suspects: tuple[str, ...] | None = None
    """Their documents may have been deleted since; None: nothing is known, so all of them."""
    knows_generations: bool = False
    """Whether capabilities that were revoked since stay revoked."""


def take_over(new: sqlite3.Connection, old: sqlite3.Connection | None, *, exact: bool) -> TakenOver:
    """
    Complete ``new``, a restored copy, from ``old``, the catalog that it replaces; one transaction.

    ``exact`` leaves videos as the copy has them, and takes over only what must not go back: numbers of
    revisions and generations of capabilities. ``old`` may be damaged, or None.
    """
    new.execute("BEGIN IMMEDIATE")
    try:
        result = _take_over(new, old, exact=exact)
        new.execute("COMMIT")
    except BaseException:
        new.execute("ROLLBACK")
        raise
    return result


def _take_over(new: sqlite3.Connection, old: sqlite3.Connection | None, *, exact: bool) -> TakenOver:
    known = {} if old is None else _read_current(old)
    if old is None or known is None:
        _skip_numbers(new)
        return TakenOver()
    has_numbers = _take_numbers(new, old)
    own = dict(new.execute("SELECT video_id, current_revision FROM videos").fetchall())
    adopted: list[str] = []
    newer: list[str] = []
    lost: list[str] = []
    for video_id, current in known.items():
        if exact or own.get(video_id, 0) == current:
            continue
        found = _read_video(old, video_id)
        if found is None:
            lost += [] if video_id in own else [video_id]
            continue
        _replace_video(new, video_id, found)
        (newer if video_id in own else adopted).append(video_id)
    stored = _stored_documents(old)
    return TakenOver(
        adopted=tuple(adopted),
        newer=tuple(newer),
        lost=tuple(lost),
        suspects=None if stored is None else _suspects(new, stored),
        knows_generations=has_numbers,
    )


def _read_current(old: sqlite3.Connection) -> Mapping[str, int | None] | None:
    try:
        return dict(old.execute("SELECT video_id, current_revision FROM videos").fetchall())
    except sqlite3.Error:
        return None


def _take_numbers(new: sqlite3.Connection, old: sqlite3.Connection) -> bool:
    """Let no revision number, intent or revoked capability come back; tell whether all could be read."""
    try:
        revisions = old.execute("SELECT video_id, last FROM revision_numbers").fetchall()
        generations = old.execute("SELECT capability_generation, video_id FROM videos").fetchall()
        owed = _select(old, "owed_deletions", "1 = 1", ())
        releases = old.execute("SELECT video_id, revision, owed_at, done_at FROM source_releases").fetchall()
        columns = _columns(old, "owed_deletions")
    except sqlite3.Error:
        _skip_numbers(new)
        return False
    new.executemany(
        """INSERT INTO revision_numbers (video_id, last) VALUES (?, ?)
        ON CONFLICT DO UPDATE SET last = max(last, excluded.last)""",
        revisions,
    )
    new.executemany(
        "UPDATE videos SET capability_generation = max(capability_generation, ?) WHERE video_id = ?",
        generations,
    )
    # A source file that we took away since is not one that somebody removed.
    new.executemany(
        """INSERT INTO source_releases (video_id, revision, owed_at, done_at) SELECT video_id, number, ?3, ?4
        FROM revisions WHERE video_id = ?1 AND number = ?2
        ON CONFLICT DO UPDATE SET done_at = coalesce(done_at, excluded.done_at)""",
        releases,
    )
    # Deletions owed since the copy. Not those of what the copy plays: they are the copy's again.
    for row in owed:
        values = dict(zip(columns, row, strict=True))
        key = (values["chat_id"], values["message_id"], values["file_unique_id"])
        if not _plays(new, key):
            new.execute(
                """INSERT INTO owed_deletions (chat_id, message_id, file_unique_id, size, sha256)
                VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
                (*key, values["size"], values["sha256"]),
            )
    _skip_ids(new)
    return True


def _plays(new: sqlite3.Connection, key: Row) -> bool:
    sql = "SELECT 1 FROM documents WHERE chat_id = ? AND message_id = ? AND file_unique_id = ?"
    return new.execute(sql, key).fetchone() is not None


def _skip_numbers(new: sqlite3.Connection) -> None:
    new.execute("UPDATE revision_numbers SET last = last + ?", (REVISIONS_SKIPPED,))
    _skip_ids(new)


def _skip_ids(new: sqlite3.Connection) -> None:
    new.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'intents'", (FOREVER,))


# --- one video ---------------------------------------------------------------------------------------


def _read_video(old: sqlite3.Connection, video_id: str) -> Mapping[str, Sequence[Row]] | None:
    """Return all rows of a video by table; None when they cannot be read or do not fit together."""
    try:
        found = {table: _select(old, table, "video_id = ?", (video_id,)) for table in BY_VIDEO}
        found["renditions"] = _select(old, "renditions", "video_id = ?", (video_id,))
        found["extras"] = _select(old, "extras", "video_id = ?", (video_id,))
        of_rendition = "rendition_id IN (SELECT rendition_id FROM renditions WHERE video_id = ?)"
        of_extra = "extra_id IN (SELECT extra_id FROM extras WHERE video_id = ?)"
        found["rendition_segments"] = _select(old, "rendition_segments", of_rendition, (video_id,))
        either = f"({of_rendition} OR {of_extra})"
        found["documents"] = _select(old, "documents", either, (video_id, video_id))
        found["document_files"] = _select(
            old,
            "document_files",
            f"document_id IN (SELECT document_id FROM documents WHERE {either})",  # noqa: S608 - constants
            (video_id, video_id),
        )
        return found if _is_whole(old, video_id) else None
    except sqlite3.Error:
        return None


def _is_whole(old: sqlite3.Connection, video_id: str) -> bool:
    """Tell whether what plays is covered by documents from its first byte to its last."""
    found = old.execute(
        """SELECT r.rendition_id, r.stream_length, r.is_complete, r.total_segments,
            (SELECT count(*) FROM rendition_segments AS s WHERE s.rendition_id = r.rendition_id)
        FROM renditions AS r JOIN videos AS v
          ON v.video_id = r.video_id AND v.current_revision = r.revision
        WHERE v.video_id = ?""",
        (video_id,),
    ).fetchall()
    for rendition_id, length, is_complete, total, count in found:
        at = 0
        sql = "SELECT byte_offset, length FROM documents WHERE rendition_id = ? ORDER BY byte_offset"
        for offset, size in old.execute(sql, (rendition_id,)):
            if offset != at:
                return False
            at += size
        if at != length or not is_complete or total != count:
            return False
    return bool(found)


def _replace_video(new: sqlite3.Connection, video_id: str, found: Mapping[str, Sequence[Row]]) -> None:
    """Put a video's rows in the place of those that are there. What the replaced ones held is not owed."""
    (before,) = new.execute("SELECT coalesce(max(deletion_id), 0) FROM owed_deletions").fetchone()
    new.execute("DELETE FROM videos WHERE video_id = ?", (video_id,))
    new.execute("DELETE FROM owed_deletions WHERE deletion_id > ?", (before,))
    for table in BY_VIDEO:
        _insert(new, table, found[table])
    renditions = _insert_renumbered(new, "renditions", "rendition_id", found["renditions"], {})
    extras = _insert_renumbered(new, "extras", "extra_id", found["extras"], {})
    segments = [(renditions[row[0]], *row[1:]) for row in found["rendition_segments"]]
    _insert(new, "rendition_segments", segments)
    parents = {"rendition_id": renditions, "extra_id": extras}
    documents = _insert_renumbered(new, "documents", "document_id", found["documents"], parents)
    files = [(documents[row[0]], *row[1:]) for row in found["document_files"]]
    _insert(new, "document_files", files)


def _insert(new: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Insert rows; a path may be another video's in the copy, whose row is the older one."""
    sql, kinds = _statement(new, table, "INSERT OR REPLACE")
    new.executemany(sql, [_bound(row, kinds) for row in rows])


def _insert_renumbered(
    new: sqlite3.Connection,
    table: str,
    key: str,
    rows: Sequence[Row],
    parents: Mapping[str, Mapping[int, int]],
) -> Mapping[int, int]:
    """Insert rows under numbers that are free here; return the new numbers by the old ones."""
    columns = _columns(new, table)
    sql, kinds = _statement(new, table, "INSERT")
    numbers: dict[int, int] = {}
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        old_number, values[key] = values[key], None
        for name, moved in parents.items():
            if values[name] is not None:
                values[name] = moved[values[name]]
        numbers[old_number] = int(new.execute(sql, _bound(tuple(values.values()), kinds)).lastrowid or 0)
    return numbers


def _statement(new: sqlite3.Connection, table: str, verb: str) -> tuple[str, Sequence[str]]:
    """Return the statement for a whole row, and the types of its columns."""
    columns = new.execute(f"PRAGMA table_info({table})").fetchall()
    names = ", ".join(column[1] for column in columns)
    # Text is handed over as bytes: names of files need not be UTF-8 (rows.text).
    marks = ", ".join("CAST(? AS TEXT)" if column[2] == "TEXT" else "?" for column in columns)
    sql = f"{verb} INTO {table} ({names}) VALUES ({marks})"
    return sql, [column[2] for column in columns]


def _bound(row: Row, kinds: Sequence[str]) -> Row:
    return tuple(
        rows.text(value) if kind == "TEXT" and value is not None else value
        for value, kind in zip(row, kinds, strict=True)
    )


def _columns(db: sqlite3.Connection, table: str) -> Sequence[str]:
    return [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]


def _select(db: sqlite3.Connection, table: str, where: str, values: Row) -> list[Row]:
    names = ", ".join(_columns(db, table))
    return db.execute(f"SELECT {names} FROM {table} WHERE {where}", values).fetchall()  # noqa: S608 - our own


# --- what may be gone --------------------------------------------------------------------------------


def _stored_documents(old: sqlite3.Connection) -> set[Row] | None:
    """Return the documents that the store still had: recorded, or owed as deletions; None if not known."""
    try:
        return {
            *old.execute("SELECT chat_id, message_id, file_unique_id FROM documents"),
            *old.execute("SELECT chat_id, message_id, file_unique_id FROM owed_deletions"),
        }
    except sqlite3.Error:
        return None


def _suspects(new: sqlite3.Connection, stored: set[Row]) -> tuple[str, ...]:
    """Return the videos that play documents which were not there any more."""
    played = new.execute(
        """SELECT DISTINCT v.video_id, d.chat_id, d.message_id, d.file_unique_id
        FROM videos AS v JOIN renditions AS r
          ON r.video_id = v.video_id AND r.revision = v.current_revision
        JOIN documents AS d ON d.rendition_id = r.rendition_id"""
    )
    return tuple(sorted({row[0] for row in played if row[1:] not in stored}))
