# SPDX-License-Identifier: MIT
"""PURE. A token bucket that may be overdrawn: who takes more than there is, waits until the debt is paid."""

from __future__ import annotations

__all__ = ["TokenBucket"]

BURST_S = 0.5
"""What was not used lately may be caught up with, as far as this."""


class TokenBucket:
    """Tells when bytes may be sent, in the order in which they are asked for."""

    def __init__(self, bytes_per_s: float, now_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._tokens = bytes_per_s * BURST_S
        self._at_s = now_s

    def take(self, size_bytes: int, now_s: float) -> float:
        """Take so many tokens; return the time from which they may be used."""
        gained = max(0.0, now_s - self._at_s) * self.bytes_per_s
        self._tokens = min(self.bytes_per_s * BURST_S, self._tokens + gained) - size_bytes
        self._at_s = now_s
        return now_s + max(0.0, -self._tokens / self.bytes_per_s)
