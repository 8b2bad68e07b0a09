# SPDX-License-Identifier: MIT
"""What lasts is said at its 1st, 2nd, 4th, 8th time: a day of it is a dozen lines and not a thousand."""

from __future__ import annotations

__all__ = ["Rarely"]

MAX_KINDS = 1000


class Rarely:
    """Counts how often the same thing happened since it last ended."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def is_due(self, kind: str) -> bool:
        """Count once more; tell whether it is time to say so."""
        count = self._counts.pop(kind, 0) + 1
        self._counts[kind] = count
        while len(self._counts) > MAX_KINDS:
            del self._counts[next(iter(self._counts))]
        return count & (count - 1) == 0

    def end(self, kind: str) -> bool:
        """Forget it; tell whether it was said."""
        return self._counts.pop(kind, 0) > 0

    def keep(self, kinds: set[str]) -> None:
        """Forget all others."""
        self._counts = {kind: count for kind, count in self._counts.items() if kind in kinds}
