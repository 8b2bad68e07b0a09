# SPDX-License-Identifier: MIT
"""One run of ffmpeg over one source file: what is taken for it is given back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor

from tgsyncd.errors import ConfigError
from tgsyncd.ingest.cutting import CutJob, CutTarget
from tgsyncd.ingest.spool import Spool
from tgsyncd.model import Container, PackLimits, RenditionKind, RenditionPlan


def target(number: int) -> CutTarget:
    plan = RenditionPlan(
        name=f"audio-{number}", kind=RenditionKind.AUDIO, container=Container.FMP4, streams=()
    )
    return CutTarget(rendition_id=number, plan=plan)


@pytest_twisted.ensureDeferred
async def test_a_film_with_more_sound_tracks_than_the_spool_has_room_for_leaves_nothing_open(tmp_path):
    """A daemon meets it at every scan: no descriptor and no promise of room is kept."""
    spool = Spool(tmp_path, limit_bytes=30_000_000, reserve_bytes=0)
    job = CutJob(
        path=tmp_path / "film.mkv",
        reactor=reactor,
        runner=None,
        writer=None,
        spool=spool,
        plan=SimpleNamespace(limits=PackLimits(), segment_target_s=6.0),
        targets=[target(1), target(2)],
        uploader=None,
        on_stderr=print,
        on_cut=print,
    )
    with pytest.raises(ConfigError, match="too small"):
        await job.run(["ffmpeg"])
    spool.join(30_000_000, print)
