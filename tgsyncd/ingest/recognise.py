# SPDX-License-Identifier: MIT
"""PURE. Tell whether a source file is one that we have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tgsyncd.model import Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tgsyncd.model import Revision, SourceIdentity, Video

__all__ = ["Action", "Recognition", "recognise"]


class Action(StrEnum):
    """What shall happen with a source file."""

    NEW = "new"
    RESUME = "resume"
    REPLACE = "replace"
    """Ingest as a new revision of a known video."""
    NOTHING = "nothing"
    """It is stored already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """The decision for one source file."""

    action: Action
    video: Video | None
    is_moved: bool = False
    """The catalog knows this file by another path, inode or mtime."""


def recognise(
    identity: SourceIdentity,
    *,
    at_path: tuple[Video, Revision] | None,
    same_size: Sequence[tuple[Video, Revision]],
    still_there: Collection[str],
    force: bool,
) -> Recognition:
    """
    Decide what ``identity`` is to us.

    Path, size and mtime come first; inodes change on mergerfs, NFS and exFAT remounts, so an inode alone
    decides nothing; the sampled hash decides what is left. ``same_size`` are videos whose newest source has
    this size: with an equal sampled hash they are this file, copied if theirs is one of the paths where it is
    ``still_there``, else moved: what stands in the old place now may be another film.
    """
    if at_path is not None:
        return _recognise_at_path(identity, *at_path, force=force)
    for video, revision in same_size:
        if revision.source.sampled_hash == identity.sampled_hash:
            is_copy = revision.source.path in still_there
            if force and is_copy:
                continue
            action = Action.REPLACE if force else _unfinished(revision)
            return Recognition(action=action, video=video, is_moved=not is_copy)
    return Recognition(action=Action.NEW, video=None)


def _recognise_at_path(
    identity: SourceIdentity, video: Video, revision: Revision, *, force: bool
) -> Recognition:
    known = revision.source
    is_same = known.sampled_hash == identity.sampled_hash
    is_moved = is_same and known != identity
    if not is_same or (force and revision.stage is Stage.PUBLISHED):
        return Recognition(action=Action.REPLACE, video=video)
    return Recognition(action=_unfinished(revision), video=video, is_moved=is_moved)


def _unfinished(revision: Revision) -> Action:
    return Action.NOTHING if revision.stage is Stage.PUBLISHED else Action.RESUME
