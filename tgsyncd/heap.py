# SPDX-License-Identifier: MIT
"""
Have the C library give back what a server frees.

glibc learns from the first large buffer that is freed to take the next ones, up to 32 MB, out of its heaps,
of which it makes up to eight for each core, one a thread. What segments of some MB leave there is kept: in
ten minutes of ``benchmarks.playback_soak`` memory grew from 193 to 220 MB (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

import ctypes
import logging

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

LARGE_BYTES = 1 << 20
"""Buffers of this size are pages of their own, and gone when freed: segments, not the chunks of 256 KiB."""

SETTINGS = {_M_MMAP_THRESHOLD: LARGE_BYTES, _M_TRIM_THRESHOLD: 4 * LARGE_BYTES, _M_ARENA_MAX: 2}

_log = logging.getLogger(__name__)


def give_back_what_is_freed() -> bool:
    """Return whether it was arranged: before threads are started, where the C library is glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        _log.debug("the C library has no mallopt: freed memory may stay with the process")
        return False
    return {mallopt(name, value) for name, value in SETTINGS.items()} == {1}
