# SPDX-License-Identifier: MIT
"""
Pinned heads: the beginning of every video on local disk, so that a probe costs the store nothing.

Jellyfin probes a ``.strm``'s URL anew at every Play, and asks for segments 0 and 1 even when it then goes on
in the middle. What is pinned is in ``policy.HEAD_BYTES``. A head is cut off its segment after that was
verified, and has a sha256 of its own behind it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tgsyncd.playback.policy import head_bytes
from tgsyncd.playback.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator
    from pathlib import Path

    from tgsyncd.model import Document
    from tgsyncd.playback.flight import Flight
    from tgsyncd.playback.pieces import Piece
    from tgsyncd.playback.shelf import InThread, OpenFile, Shelved
    from tgsyncd.ports import Clock


class Heads:
    """The heads of all videos, within a budget; beyond it the least recently watched go."""

    def __init__(self, folder: Path, *, limit_bytes: int, clock: Clock, in_thread: InThread) -> None:
        self.shelf = Shelf(
            folder, limit_bytes=limit_bytes, clock=clock, in_thread=in_thread, choose_victims=_least_recent
        )

    def length(self, piece: Piece) -> int:
        """Return how much of the piece is pinned, when it is."""
        return head_bytes(piece.order, piece.size_bytes) if piece.key and self.shelf.limit_bytes else 0

    def holds(self, piece: Piece) -> bool:
        """Tell whether the piece's head is here, as far as the folder was looked at."""
        return self.length(piece) > 0 and _name(piece) in self.shelf

    async def open(self, piece: Piece) -> OpenFile | None:
        """Return the piece's head to be read, if it is here."""
        length = self.length(piece)
        return await self.shelf.open(_name(piece), length) if length else None

    async def load(self, piece: Piece) -> bytes:
        """Return the piece's head, or nothing."""
        file = await self.open(piece)
        if file is None:
            return b""
        data = b"".join([chunk async for chunk in file.read(0, self.length(piece))])
        return data if len(data) == self.length(piece) else b""

    async def keep(self, flight: Flight) -> None:
        """Pin the head of a piece that landed."""
        length = self.length(flight.piece)
        name = _name(flight.piece)
        if length and name not in self.shelf and not flight.is_dropped:
            data = bytes(memoryview(flight.data)[:length])
            await self.shelf.write(name, data, stream=flight.stream, order=flight.piece.order or 0)

    async def discard(self, piece: Piece) -> None:
        """Remove the piece's head: it does not fit what comes behind it."""
        if self.length(piece):
            await self.shelf.discard([_name(piece)])


FIRST_DOCUMENTS = 3
FIRST_DOCUMENTS_BYTES = 250_000_000
"""Some eight videos' worth: a video is pinned as soon as it is complete."""


class FirstDocuments:
    """
    Copies of the documents that a stream begins with, from the spool, until its head is pinned.

    So a video that is ingested is pinned without reading it from the store.
    """

    def __init__(self, folder: Path, *, limit_bytes: int, clock: Clock, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._shelf = Shelf(
            folder,
            limit_bytes=min(limit_bytes, FIRST_DOCUMENTS_BYTES),
            clock=clock,
            in_thread=in_thread,
            choose_victims=_least_recent,
        )

    async def keep(self, path: Path, number: int, sha256: str) -> None:
        """Copy a document of this number, if it is one of the first."""
        if number < FIRST_DOCUMENTS and self._shelf.limit_bytes:
            data: bytes = await self._in_thread(lambda: _read_matching(path, sha256))
            if data:
                await self._shelf.write(sha256, data, stream="", order=number)

    async def open(self, document: Document, start: int, stop: int) -> AsyncGenerator[bytes, None] | None:
        """Return the document's bytes ``[start, stop)``, if there is a copy."""
        if document.number >= FIRST_DOCUMENTS or not self._shelf.limit_bytes:
            return None
        ref = document.ref
        file = await self._shelf.open(ref.sha256, ref.size_bytes, sha256=ref.sha256)
        return file.read(start, stop) if file is not None else None

    async def discard(self, documents: Iterable[Document]) -> None:
        """Remove the copies of these documents."""
        await self._shelf.discard([document.ref.sha256 for document in documents])


def _read_matching(path: Path, sha256: str) -> bytes:
    data = path.read_bytes()
    return data if hashlib.sha256(data).hexdigest() == sha256 else b""


def _name(piece: Piece) -> str:
    return f"{piece.key}-head"


def _least_recent(need_bytes: int, files: dict[str, Shelved]) -> Iterator[str]:
    for name, each in sorted(files.items(), key=lambda item: item[1].last_used_s):
        if need_bytes <= 0:
            return
        need_bytes -= each.size_bytes
        yield name
