# SPDX-License-Identifier: MIT
"""Large bodies do not make the emulator large."""

from __future__ import annotations

import http.client
import re
import threading
from pathlib import Path

import pytest_twisted
from twisted.internet import task

from tests.emulator_tests.test_process import Process, ask

SIZE = 19_900_000


def resident_kib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def upload(url, token, chat_id, size, results):
    boundary = "xxx"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n{chat_id}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="document"; filename="a.bin"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.putrequest("POST", f"/bot{token}/sendDocument")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(head) + size + len(tail)))
    connection.endheaders()
    connection.send(head)
    block = bytes(64 * 1024)
    left = size
    while left:
        connection.send(block[: min(left, len(block))])
        left -= min(left, len(block))
    connection.send(tail)
    results.append(connection.getresponse().status)
    connection.close()


def test_eight_uploads_of_twenty_megabytes_need_no_memory(tmp_path):
    """8 x 19.9 MB at once move the peak of the process by less than one of them."""
    process = Process(tmp_path / "state")
    try:
        before = resident_kib(process.process.pid)
        results = []
        threads = [
            threading.Thread(
                target=upload, args=(process.url, process.tokens[0], process.chats[0], SIZE + n, results)
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [200] * 8
        assert (resident_kib(process.process.pid) - before) * 1024 < SIZE
        calls = ask(f"{process.url}/_control/calls?method=sendDocument")[1]
        assert sorted(call["file_bytes"] for call in calls) == [SIZE + n for n in range(8)]
    finally:
        process.end()


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_holds_no_file_in_memory(rig):
    """A client that stops reading gets no more than the sockets hold: the rest stays on disk."""
    rig.clock.stop_auto_advance()
    document = (await rig.send(bytes(8_000_000))).result["document"]
    path = (await rig.call("getFile", file_id=document["file_id"])).result["file_path"]
    response = await rig.http.get(f"{rig.emulator.base_file_url}{rig.one.token}/{path}", unbuffered=True)
    response.original._transport.pauseProducing()
    await task.deferLater(rig.reactor, 0.3, lambda: None)
    (channel,) = [c for c in rig.emulator._channels if c.requests]
    waiting = channel.transport
    assert len(waiting.dataBuffer) + sum(map(len, waiting._tempDataBuffer)) < 1_000_000
    waiting.abortConnection()
