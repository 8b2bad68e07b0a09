# SPDX-License-Identifier: MIT
"""
Writes of renditions, segments, documents, and what is owed to the store, inside their transaction.

``writer.Writer`` begins and commits. Deleting a row of ``documents`` owes its deletion by a trigger.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgsyncd.catalog import rows
from tgsyncd.catalog.transaction import CommitThenRaise, count_segments
from tgsyncd.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.catalog.transaction import Transaction
    from tgsyncd.model import DocumentLabel, DocumentRef, RenditionPlan, Segment, VideoId

EXTRA = "extra"
"""What a DocumentLabel has for a rendition when the document is an extra."""


def create_rendition(tx: Transaction, video_id: VideoId, revision: int, plan: RenditionPlan) -> int:
    """Insert the rendition of this name, or find it; return its id."""
    ((rendition_id,),) = tx.db.execute(
        """INSERT INTO renditions
            (video_id, revision, name, kind, container, language, title, is_default, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?)
        ON CONFLICT (video_id, revision, name) DO UPDATE SET updated_at = excluded.updated_at
        RETURNING rendition_id""",
        (
            video_id,
            revision,
            plan.name,
            plan.kind.value,
            plan.container.value,
            plan.language and rows.text(plan.language),
            plan.title and rows.text(plan.title),
            int(plan.is_default),
            tx.now_s,
            tx.now_s,
        ),
    ).fetchall()
    return int(rendition_id)


def record_segments(tx: Transaction, rendition_id: int, segments: Sequence[Segment]) -> None:
    """Insert segments; one of the same order is replaced."""
    at = float(math.floor(tx.now_s))  # SQLite stores a whole number in 4 bytes, a fraction in 8
    tx.db.executemany(
        """INSERT INTO rendition_segments (rendition_id, segment_order, byte_offset, file_size, start_time,
            duration, sha256, discontinuity, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET byte_offset = excluded.byte_offset, file_size = excluded.file_size,
            start_time = excluded.start_time, duration = excluded.duration, sha256 = excluded.sha256,
            discontinuity = excluded.discontinuity, updated_at = excluded.updated_at""",
        [
            (
                rendition_id,
                segment.order,
                segment.offset,
                segment.size_bytes,
                segment.start_s,
                segment.duration_s,
                bytes.fromhex(segment.sha256),
                int(segment.discontinuity),
                at,
                at,
            )
            for segment in segments
        ],
    )
    count_segments(tx, rendition_id)


def record_document(
    tx: Transaction, rendition_id: int, *, number: int, offset: int, length: int, ref: DocumentRef
) -> int:
    """
    Insert a stored document with its file_ids, and end its intents; return its id.

    One of the same number is replaced; if it stood elsewhere in the store, its deletion is owed. When the
    rendition was deleted while the document was on its way, the deletion of this one is owed.
    """
    found = tx.db.execute(
        "SELECT video_id, revision, name FROM renditions WHERE rendition_id = ?", (rendition_id,)
    ).fetchone()
    if found is None:
        owe_deletions(tx, [ref])
        error = NotFound("the video was deleted while its documents were stored")
        raise CommitThenRaise(error)
    key = "rendition_id = ? AND number = ?"
    document_id = _replace_document(tx, key, (rendition_id, number), offset=offset, length=length, ref=ref)
    if document_id is None:
        document_id = _insert_document(tx, (rendition_id, None, number, offset, length), ref)
    tx.db.execute(
        "DELETE FROM intents WHERE video_id = ? AND revision = ? AND rendition = ? AND number = ?",
        (*found, number),
    )
    return document_id


def record_extra(tx: Transaction, video_id: VideoId, revision: int, *, name: str, ref: DocumentRef) -> int:
    """Insert a stored extra; one of the same name is replaced and owed as a deletion. Ends its intents."""
    key = (video_id, revision, name)
    found = tx.db.execute(
        "SELECT 1 FROM revisions WHERE video_id = ? AND number = ?", (video_id, revision)
    ).fetchone()
    if found is None:
        owe_deletions(tx, [ref])
        error = NotFound(f"{video_id} was deleted while {name} was stored")
        raise CommitThenRaise(error)
    ((extra_id,),) = tx.db.execute(
        """INSERT INTO extras (video_id, revision, name) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET name = name RETURNING extra_id""",
        key,
    ).fetchall()
    length = ref.size_bytes
    document_id = _replace_document(tx, "extra_id = ?", (extra_id,), offset=0, length=length, ref=ref)
    if document_id is None:
        document_id = _insert_document(tx, (None, extra_id, 0, 0, length), ref)
    tx.db.execute(
        "DELETE FROM intents WHERE video_id = ? AND revision = ? AND rendition = ? AND filename = ?",
        (video_id, revision, EXTRA, name),
    )
    return document_id


def _replace_document(
    tx: Transaction,
    condition: str,
    key: tuple[int, ...],
    *,
    offset: int,
    length: int,
    ref: DocumentRef,
) -> int | None:
    """Update the row when it names the same stored document; take it away when it names another."""
    row = tx.db.execute(
        f"""UPDATE documents SET byte_offset = ?, length = ?, size = ?, sha256 = ?
        WHERE {condition} AND chat_id = ? AND message_id = ? AND file_unique_id = ?
        RETURNING document_id""",  # noqa: S608 - the condition is a constant of the two callers
        (offset, length, ref.size_bytes, ref.sha256, *key, *_place(ref)),
    ).fetchall()
    if row:
        _record_file_ids(tx, row[0][0], ref)
        return int(row[0][0])
    tx.db.execute(f"DELETE FROM documents WHERE {condition}", key)  # noqa: S608 - likewise
    return None


def _insert_document(
    tx: Transaction, where: tuple[int | None, int | None, int, int, int], ref: DocumentRef
) -> int:
    # What is stored anew at a place whose deletion was owed must not be deleted.
    settle_deletions(tx, [ref])
    document_id = tx.db.execute(
        f"""INSERT INTO documents
            (rendition_id, extra_id, number, byte_offset, length, {rows.REF_COLUMNS}, uploaded_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",  # noqa: S608 - constants of rows
        (*where, *rows.from_ref(ref), tx.now_s),
    ).lastrowid
    assert document_id is not None
    _record_file_ids(tx, document_id, ref)
    return document_id


def _record_file_ids(tx: Transaction, document_id: int, ref: DocumentRef) -> None:
    for bot_id, file_id in ref.file_ids.items():
        record_file_id(tx, document_id, bot_id, file_id)


def record_file_id(tx: Transaction, document_id: int, bot_id: int, file_id: str) -> None:
    """Note the file_id by which this bot reads the document. Does nothing when that is gone."""
    tx.db.execute(
        """INSERT INTO document_files (document_id, bot_id, file_id)
        SELECT document_id, ?, ? FROM documents WHERE document_id = ?
        ON CONFLICT DO UPDATE SET file_id = excluded.file_id""",
        (bot_id, file_id, document_id),
    )


def learn_file_id(tx: Transaction, ref: DocumentRef, bot_id: int, file_id: str) -> None:
    """Note the file_id by which this bot reads the document that stands in this message."""
    tx.db.execute(
        """INSERT INTO document_files (document_id, bot_id, file_id)
        SELECT document_id, ?, ? FROM documents WHERE chat_id = ? AND message_id = ? AND file_unique_id = ?
        ON CONFLICT DO UPDATE SET file_id = excluded.file_id""",
        (bot_id, file_id, ref.chat_id, ref.message_id, ref.file_unique_id),
    )


def record_verified(tx: Transaction, document_ids: Sequence[int]) -> None:
    """Note that these documents were read back and matched."""
    tx.db.executemany(
        "UPDATE documents SET verified_at = ? WHERE document_id = ?",
        [(tx.now_s, document_id) for document_id in document_ids],
    )


def truncate_rendition(tx: Transaction, rendition_id: int, *, segments_from: int, stream_end: int) -> None:
    """Forget segments of this order and above, and everything stored at or behind ``stream_end``."""
    tx.db.execute(
        "DELETE FROM rendition_segments WHERE rendition_id = ? AND segment_order >= ?",
        (rendition_id, segments_from),
    )
    tx.db.execute(
        "DELETE FROM documents WHERE rendition_id = ? AND byte_offset >= ?",
        (rendition_id, stream_end),
    )
    tx.db.execute(
        """UPDATE documents SET length = ?1 - byte_offset
        WHERE rendition_id = ?2 AND byte_offset + length > ?1""",
        (stream_end, rendition_id),
    )
    tx.db.execute(
        "UPDATE renditions SET is_complete = 0, stream_length = 0 WHERE rendition_id = ?",
        (rendition_id,),
    )
    count_segments(tx, rendition_id)


def finish_rendition(
    tx: Transaction,
    rendition_id: int,
    *,
    codecs: str,
    bandwidth: int,
    average_bandwidth: int,
    width: int,
    height: int,
    frame_rate: float,
    stream_bytes: int,
    init_bytes: int,
    duration_s: float,
    independent_segments: bool,
) -> None:
    """Record what is known at the end of the stream, and that it is complete."""
    tx.db.execute(
        """UPDATE renditions SET codecs = ?, bandwidth = ?, average_bandwidth = ?, width = ?, height = ?,
            frame_rate = ?, stream_length = ?, init_length = ?, duration = ?, independent_segments = ?,
            is_complete = 1
        WHERE rendition_id = ?""",
        (
            codecs,
            bandwidth,
            average_bandwidth,
            width,
            height,
            frame_rate,
            stream_bytes,
            init_bytes,
            duration_s,
            int(independent_segments),
            rendition_id,
        ),
    )
    count_segments(tx, rendition_id)


# --- deletions and intents ---


def owe_deletions(tx: Transaction, refs: Sequence[DocumentRef]) -> None:
    """Owe the store the deletion of documents that no row names, such as orphans of lost replies."""
    for ref in refs:
        tx.db.execute(
            f"""INSERT INTO owed_deletions ({rows.REF_COLUMNS}) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING""",  # noqa: S608 - constants of rows
            rows.from_ref(ref),
        )
        tx.db.executemany(
            """INSERT INTO owed_deletion_files (deletion_id, bot_id, file_id)
            SELECT deletion_id, ?, ? FROM owed_deletions
            WHERE chat_id = ? AND message_id = ? AND file_unique_id = ? ON CONFLICT DO NOTHING""",
            [(bot_id, file_id, *_place(ref)) for bot_id, file_id in ref.file_ids.items()],
        )


def settle_deletions(tx: Transaction, refs: Sequence[DocumentRef]) -> None:
    """Forget owed deletions that the store has carried out."""
    tx.db.executemany(
        "DELETE FROM owed_deletions WHERE chat_id = ? AND message_id = ? AND file_unique_id = ?",
        [_place(ref) for ref in refs],
    )


def _place(ref: DocumentRef) -> tuple[int, int, str]:
    return (ref.chat_id, ref.message_id, ref.file_unique_id)


def record_intent(tx: Transaction, label: DocumentLabel, *, bot_id: int, chat_id: int) -> int:
    """Note that an upload begins; return the intent's id."""
    intent_id = tx.db.execute(
        """INSERT INTO intents (library_id, video_id, revision, rendition, number, size, sha256, filename,
            bot_id, chat_id, begun_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            label.library_id,
            label.video_id,
            label.revision,
            label.rendition,
            label.number,
            label.size_bytes,
            label.sha256,
            label.filename,
            bot_id,
            chat_id,
            tx.now_s,
        ),
    ).lastrowid
    assert intent_id is not None
    return intent_id


def forget_intent(tx: Transaction, intent_id: int) -> None:
    """Forget an upload that was begun: its orphan was found, or there is none."""
    tx.db.execute("DELETE FROM intents WHERE intent_id = ?", (intent_id,))
