# SPDX-License-Identifier: MIT
"""
The spool: documents cut and not yet stored, bounded, and the pump that fills it from ffmpeg's pipe.

A pump runs in a worker thread: it reads the pipe, cuts, packs, hashes and writes. When the spool is full
it stops reading, and ffmpeg waits on its pipe by itself. ``Spool.release`` is called from the reactor
thread when a document is stored; nothing here blocks that thread for longer than an unlink takes.
"""

from __future__ import annotations

from tgsyncd.ingest.pump import BytesDiffer, Pump, PumpEvent, SkippedDocument, StreamFinished
from tgsyncd.ingest.spool_directory import Spool, SpoolCancelled

__all__ = [
    "BytesDiffer",
    "Pump",
    "PumpEvent",
    "SkippedDocument",
    "Spool",
    "SpoolCancelled",
    "StreamFinished",
]
