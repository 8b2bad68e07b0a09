# SPDX-License-Identifier: MIT
"""Writes of what is owed to source files, inside their transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgsyncd.catalog.transaction import Transaction
    from tgsyncd.model import VideoId


def owe_source_release(tx: Transaction, video_id: VideoId, revision: int) -> None:
    """
    Note that the source file shall be moved or deleted when this revision is published. Idempotent.

    Raises NotFound when the revision was deleted meanwhile.
    """
    tx.db.execute(
        "INSERT INTO source_releases (video_id, revision, owed_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (video_id, revision, tx.now_s),
    )


def settle_source_release(tx: Transaction, video_id: VideoId, revision: int) -> None:
    """Note that the source file was moved or deleted."""
    tx.db.execute(
        "UPDATE source_releases SET done_at = ? WHERE video_id = ? AND revision = ? AND done_at IS NULL",
        (tx.now_s, video_id, revision),
    )


def forget_source_release(tx: Transaction, video_id: VideoId, revision: int) -> None:
    """Note that the source file stays. What was done already is remembered."""
    tx.db.execute(
        "DELETE FROM source_releases WHERE video_id = ? AND revision = ? AND done_at IS NULL",
        (video_id, revision),
    )
