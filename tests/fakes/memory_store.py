# SPDX-License-Identifier: MIT
"""A store in memory that runs the store contract, with knobs for what goes wrong."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from tgsyncd.errors import DocumentCorrupt, DocumentMissing, StoreUnavailable
from tgsyncd.model import DocumentRef

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One call of ``open``."""

    file_unique_id: str
    start: int
    stop: int


class MemoryStore:
    """Keeps documents in a dictionary. All knobs may be turned at any time.

    fail_opens          so many next opens raise StoreUnavailable (with retry_after_s) before the first byte
    break_after         each of the next opens breaks off (StoreUnavailable) after so many bytes, in turn
    hold(), release()   in between no chunk arrives
    corrupt             file_unique_ids whose bytes come back with one bit turned over
    truncate(ref, n)    the copy has only n bytes from now on
    """

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.fail_opens = 0
        self.retry_after_s: float | None = None
        self.break_after: deque[int] = deque()
        self.corrupt: set[str] = set()
        self.gate: Deferred[None] | None = None
        self.opened: list[Opened] = []
        self.puts: list[object] = []
        self.open_now = 0
        self.bytes_read = 0
        self._waiting: list[Deferred[None]] = []
        self._closed = False

    def add(self, data: bytes) -> DocumentRef:
        """Store bytes without a file."""
        number = len(self.documents)
        name = f"memory-{number}"
        self.documents[name] = data
        return DocumentRef(
            chat_id=0,
            message_id=0,
            file_unique_id=name,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def truncate(self, ref, size_bytes):
        self.documents[ref.file_unique_id] = self.documents[ref.file_unique_id][:size_bytes]

    def hold(self):
        """From now on no chunk arrives."""
        self.gate = Deferred()

    def release(self):
        """Let what is held arrive, and everything after it."""
        self.gate = None
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def put(self, path, label):
        self.puts.append(label)
        return self.add(path.read_bytes())

    async def open(self, ref, start, stop):
        self.opened.append(Opened(file_unique_id=ref.file_unique_id, start=start, stop=stop))
        if self.fail_opens:
            self.fail_opens -= 1
            raise StoreUnavailable("the fake is told to fail", retry_after_s=self.retry_after_s)
        data = self.documents.get(ref.file_unique_id)
        if data is None:
            raise DocumentMissing("the fake does not have it")
        if ref.file_unique_id in self.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1]) if data else data
        break_at = start + self.break_after.popleft() if self.break_after else None
        self.open_now += 1
        try:
            async for chunk in self._chunks(data, start, stop, break_at):
                self.bytes_read += len(chunk)
                yield chunk
        finally:
            self.open_now -= 1

    async def _chunks(self, data, start, stop, break_at):
        while start < stop:
            if self.gate is not None:
                one = Deferred(lambda cancelled: self._waiting.remove(cancelled))
                self._waiting.append(one)
                await one
            end = min(start + CHUNK_BYTES, stop)
            if break_at is not None and end >= break_at:
                if start < break_at:
                    yield data[start:break_at]
                raise StoreUnavailable("the fake is told to break off")
            if end > len(data):
                raise DocumentCorrupt("shorter than it should be")
            yield data[start:end]
            start = end

    async def exists(self, ref):
        return len(self.documents.get(ref.file_unique_id, b"")) == ref.size_bytes

    async def delete(self, refs):
        for ref in refs:
            self.documents.pop(ref.file_unique_id, None)
        return []

    async def close(self):
        self._closed = True
