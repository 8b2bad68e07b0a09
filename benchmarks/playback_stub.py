# SPDX-License-Identifier: MIT
"""
A server that does nothing but wait as long as Telegram does: what the best there could be would take.

    python -m benchmarks.playback_stub plan.json

It has the playlist and the stream on its disk. A segment's first request waits for getFile of each document
that holds it (latency and the document's size, once for each document), then for the download's latency; its
bytes come as fast as one connection brings them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 64 * 1024


class Stub:
    """Serves one video."""

    def __init__(self, plan: dict) -> None:
        self._plan = plan
        self._asked: dict[int, asyncio.Task] = {}
        self._stream = Path(plan["stream"]).open("rb")  # noqa: SIM115 (as long as the process)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                if path.endswith(".m3u8"):
                    body = Path(self._plan["playlist"]).read_bytes()
                    writer.write(_head(len(body), "application/vnd.apple.mpegurl") + body)
                else:
                    await self._send_segment(writer, int(path.rpartition("/")[2].partition(".")[0]))
                await writer.drain()
        writer.close()

    async def _send_segment(self, writer: asyncio.StreamWriter, order: int) -> None:
        offset, size = self._plan["segments"][order]
        end, is_begun = offset + size, False
        for number, (start, stop, document_bytes) in enumerate(self._plan["documents"]):
            if start >= end or stop <= offset:
                continue
            await asyncio.shield(self._get_file(number, document_bytes))
            await asyncio.sleep(self._plan["latency_s"])
            if not is_begun:
                writer.write(_head(size, "video/mp2t"))
                is_begun = True
            for at in range(max(start, offset), min(stop, end), CHUNK_BYTES):
                data = self._read(at, min(CHUNK_BYTES, min(stop, end) - at))
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / self._plan["bytes_per_s"])

    def _get_file(self, number: int, document_bytes: int) -> asyncio.Task:
        if number not in self._asked:
            wait_s = self._plan["latency_s"] + self._plan["get_file_s_per_mib"] * document_bytes / (1 << 20)
            self._asked[number] = asyncio.create_task(asyncio.sleep(wait_s))
        return self._asked[number]

    def _read(self, at: int, length: int) -> bytes:
        self._stream.seek(at)
        return self._stream.read(length)


def _head(length: int, kind: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "Accept-Ranges: none", "", ""]).encode()


async def main() -> None:
    """Serve until ended."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    server = await asyncio.start_server(Stub(plan).answer, "127.0.0.1", plan["port"])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
