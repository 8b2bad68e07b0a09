# SPDX-License-Identifier: MIT
"""
The store as the ingest sees it: the engine is shown what passes through, and who plays goes first.

So a video's head need not be read back, and uploads and verification slow down while somebody waits.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from tgsyncd.model import DocumentLabel, DocumentRef
    from tgsyncd.playback.engine import Engine
    from tgsyncd.ports import Store

GIVE_WAY_S = 30.0
"""A document is stored so much later at most, and read back so much later, because somebody plays."""

EXTRA = "extra"
"""The rendition that the label of an extra names."""


class KeepingStore:
    """``ports.Store`` over another one, for the ingest."""

    _log = Logger()

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def put(self, path: Path, label: DocumentLabel) -> DocumentRef:
        """Store the file; keep a copy if it is one of the first of its stream."""
        await self._engine.give_way(GIVE_WAY_S)
        ref = await self._store.put(path, label)
        if label.rendition != EXTRA:
            try:
                await self._engine.keep_first(path, label.number, label.sha256)
            except OSError as error:
                self._log.warn("{path} was not kept for playback: {error}", path=path.name, error=error)
        return ref

    async def open(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Read from the store, more slowly while somebody waits for bytes to play."""
        left_s = GIVE_WAY_S - await self._engine.give_way(GIVE_WAY_S)
        async with aclosing(self._store.open(ref, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk
                left_s -= await self._engine.give_way(left_s)

    async def exists(self, ref: DocumentRef) -> bool:
        """Ask the store."""
        return await self._store.exists(ref)

    async def delete(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """Delete from the store."""
        return await self._store.delete(refs)

    async def close(self) -> None:
        """Do nothing: the store is closed by who opened it."""
