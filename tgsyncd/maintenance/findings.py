# SPDX-License-Identifier: MIT
"""PURE. What a check may find, and what can be done about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.model import VideoId

__all__ = ["MENDABLE", "Finding", "Kind", "Repair", "RepairKind", "choose_repairs", "finding_json"]


class Kind(StrEnum):
    """What is wrong."""

    CATALOG_DAMAGED = "catalog-damaged"
    STREAM_INCOMPLETE = "stream-incomplete"
    """A video that is published is not known as a whole."""
    DOCUMENT_MISSING = "document-missing"
    DOCUMENT_CORRUPT = "document-corrupt"
    DOCUMENT_STRAY = "document-stray"
    """Documents that the catalog does not know."""
    LIBRARY_MISSING = "library-missing"
    """The folder of a library is not there: what is in it was not looked at."""
    NOT_PUBLISHED = "not-published"
    NOT_WITHDRAWN = "not-withdrawn"
    STRM_MISSING = "strm-missing"
    STRM_ALTERED = "strm-altered"
    SIDECAR_MISSING = "sidecar-missing"
    SIDECAR_ALTERED = "sidecar-altered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    words: str
    video_id: VideoId | None = None
    path: str | None = None
    """The published file, or the place in the store."""


class RepairKind(StrEnum):
    """What can be done."""

    PUBLISH = "publish"
    """Write all files of the video into the library."""
    WRITE = "write"
    """Write single files of it again."""
    WITHDRAW = "withdraw"
    STORE_AGAIN = "store-again"
    """Ingest the source file once more, if it still stands there unchanged."""


_REPAIRS = {
    Kind.NOT_PUBLISHED: RepairKind.PUBLISH,
    Kind.NOT_WITHDRAWN: RepairKind.WITHDRAW,
    Kind.STRM_MISSING: RepairKind.WRITE,
    Kind.STRM_ALTERED: RepairKind.WRITE,
    Kind.SIDECAR_MISSING: RepairKind.WRITE,
    Kind.SIDECAR_ALTERED: RepairKind.WRITE,
    Kind.STREAM_INCOMPLETE: RepairKind.STORE_AGAIN,
    Kind.DOCUMENT_MISSING: RepairKind.STORE_AGAIN,
    Kind.DOCUMENT_CORRUPT: RepairKind.STORE_AGAIN,
}
MENDABLE = frozenset(_REPAIRS)
_ORDER = (RepairKind.STORE_AGAIN, RepairKind.WITHDRAW, RepairKind.PUBLISH, RepairKind.WRITE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What shall be done for one video."""

    kind: RepairKind
    video_id: VideoId
    paths: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def choose_repairs(findings: Sequence[Finding]) -> list[Repair]:
    """
    Return at most one repair for each video: the one that mends the others too.

    What cannot be derived from catalog, store or source has none.
    """
    by_video: dict[VideoId, list[Finding]] = {}
    for finding in findings:
        if finding.video_id is not None and finding.kind in _REPAIRS:
            by_video.setdefault(finding.video_id, []).append(finding)
    repairs = []
    for video_id, found in by_video.items():
        kinds = {_REPAIRS[finding.kind] for finding in found}
        kind = next(kind for kind in _ORDER if kind in kinds)
        paths = tuple(each.path for each in found if each.path and _REPAIRS[each.kind] is RepairKind.WRITE)
        repairs.append(Repair(kind=kind, video_id=video_id, paths=paths, findings=tuple(found)))
    return repairs


def finding_json(finding: Finding) -> Mapping[str, Any]:
    """Return a finding for JSON."""
    return {**asdict(finding), "kind": finding.kind.value}
