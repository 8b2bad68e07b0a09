# SPDX-License-Identifier: MIT
"""
Find where the segments of a stream may start, as its bytes come out of ffmpeg. Sans-io.

A cutter gets the bytes in pieces of any size and gives cut points: offsets with the presentation time
there. It keeps none of the bytes but what it cannot judge yet (a few packets, or one ``moof``), since a
single GOP may be 400 MB. At the end it says what has been learnt of the stream.

The bytes come from ffmpeg, so bytes that make no sense are an FfmpegError.
"""

from __future__ import annotations

from tgsyncd.ingest.cut_fmp4 import Fmp4Cutter
from tgsyncd.ingest.cut_mpegts import TsCutter
from tgsyncd.ingest.cutter import Cutter, StreamEnd
from tgsyncd.model import Container

__all__ = ["Cutter", "StreamEnd", "make_cutter"]


def make_cutter(container: Container) -> Cutter:
    """Return a cutter for one stream of ``container``."""
    return TsCutter() if container is Container.MPEGTS else Fmp4Cutter()
