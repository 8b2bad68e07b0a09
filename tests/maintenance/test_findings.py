# SPDX-License-Identifier: MIT
"""Which repairs findings lead to."""

from __future__ import annotations

import pytest

from tgsyncd.maintenance.findings import MENDABLE, Finding, Kind, RepairKind, choose_repairs, finding_json
from tgsyncd.model import VideoId


def finding(kind: Kind, video="film", path=None) -> Finding:
    return Finding(kind=kind, words="words", video_id=VideoId(video) if video else None, path=path)


def test_one_repair_for_each_video_and_the_one_that_mends_the_rest():
    """Storing a video again publishes it too."""
    found = [
        finding(Kind.STRM_MISSING, path="/a.strm"),
        finding(Kind.DOCUMENT_CORRUPT, path="x"),
        finding(Kind.SIDECAR_MISSING, "other", "/b.srt"),
        finding(Kind.STRM_ALTERED, "other", "/b.strm"),
        finding(Kind.NOT_WITHDRAWN, "third"),
        finding(Kind.NOT_PUBLISHED, "fourth"),
        finding(Kind.STRM_MISSING, "fourth", "/d.strm"),
    ]
    chosen = {each.video_id: (each.kind, each.paths) for each in choose_repairs(found)}
    assert chosen == {
        "film": (RepairKind.STORE_AGAIN, ("/a.strm",)),
        "other": (RepairKind.WRITE, ("/b.srt", "/b.strm")),
        "third": (RepairKind.WITHDRAW, ()),
        "fourth": (RepairKind.PUBLISH, ("/d.strm",)),
    }


@pytest.mark.parametrize("kind", sorted(set(Kind) - MENDABLE))
def test_what_cannot_be_derived_has_no_repair(kind):
    """A damaged catalog, strays, a disk that is not there."""
    assert choose_repairs([finding(kind), finding(kind, None)]) == []
    assert finding_json(finding(kind))["kind"] == kind.value
