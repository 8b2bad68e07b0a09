# SPDX-License-Identifier: MIT
"""One request: the body as it comes in, faults where they strike, the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.http import INonQueuedRequestFactory
from zope.interface import provider

from tests.emulator import control
from tests.emulator.calls import Call, Record
from tests.emulator.downloads import FileSender
from tests.emulator.methods import METHODS, run_method
from tests.emulator.reply import Reply
from tests.emulator.wire import (
    Address,
    ApiError,
    Arguments,
    BodyError,
    BodyReader,
    parse_address,
    parse_query,
    parse_range,
    parse_token,
    render_result,
)

if TYPE_CHECKING:
    from tests.emulator.channel import Channel
    from tests.emulator.faults import Fault
    from tests.emulator.values import Bot


class _Cut(Exception):
    """The connection was cut on purpose: there is nothing to answer."""


class _Answered(Exception):
    """The answer has been sent already."""


@provider(INonQueuedRequestFactory)
class Exchange(Reply):
    """A request and its answer. Bodies are parsed while they come in, files go to disk."""

    log = Logger()

    def __init__(self, channel: Channel, *args: Any) -> None:
        super().__init__(channel, *args)
        self._emulator = channel.emulator
        self._link = channel
        self._holding = False
        self._address: Address | None = None
        self._bot: Bot | None = None
        self._refusal: ApiError | BodyError | None = None
        self._reader: BodyReader | None = None
        self._received = 0
        self._upload_fault: Fault | None = None
        self._upload_fault_at = 0
        self._is_cut = False
        self._is_stuck = False
        self._serving: Deferred[None] | None = None

    # -- the head ------------------------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        """The head is complete: find out who asks for what before the body comes."""
        self._emulator.acquire()
        self._holding = True
        self.content = None
        uri = self.channel._path.decode("latin-1")
        try:
            self._address = parse_address(uri)
            if self._address.kind != "control":
                self._open(self._address, length)
            content_type = (self.requestHeaders.getRawHeaders(b"Content-Type") or [b""])[0]
            self._reader = BodyReader(content_type.decode("latin-1"), self._emulator.state.incoming)
            self._reader.arguments.texts.update(parse_query(uri))
        except (ApiError, BodyError) as error:
            self._refusal = error

    def _open(self, address: Address, length: int | None) -> None:
        method = "download" if address.kind == "file" else address.rest.lower()
        bot_id, secret = parse_token(address.token)
        self._record = self._emulator.open_record(method, bot_id)
        self._bot = self._emulator.state.find_bot(bot_id, secret)
        if self._bot is None:
            raise ApiError(401, "Unauthorized")
        if address.kind == "api" and method not in METHODS:
            raise ApiError(404, "Not Found: method not found")
        if length is not None and length > self._emulator.knobs.upload_limit_bytes:
            raise ApiError(413, "Request Entity Too Large")
        if length:
            self._choose_upload_fault(method, bot_id, length)

    def _choose_upload_fault(self, method: str, bot_id: int, length: int) -> None:
        fault = self._emulator.faults.pick("upload", method, bot_id)
        if fault is not None:
            self._upload_fault = fault
            # It strikes in the middle at the latest, or a short body would come through whole.
            self._upload_fault_at = min(self._emulator.faults.place(fault, length), length - 1)
            self._note(fault)

    def _note(self, fault: Fault) -> None:
        if self._record is not None:
            before = self._record.fault
            self._record.fault = f"{before}+{fault.kind}" if before else fault.kind

    # -- the body ------------------------------------------------------------------------------------

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        self._emulator.touch()
        if self._is_cut:
            return
        if self._record is not None:
            self._record.upload_bytes = self._received
        if self._upload_fault is not None and self._received > self._upload_fault_at:
            self._strike_upload(self._upload_fault)
        if self._is_cut:
            return
        self._take(data)
        rate = self._emulator.knobs.upload_bytes_per_s
        if rate:
            self._link.slow_down(len(data) / rate)

    def _strike_upload(self, fault: Fault) -> None:
        if fault.kind == "reset_upload":
            self._is_cut = True
            self.transport.abortConnection()
        else:
            self._link.slow_down(fault.seconds or None)
            self._upload_fault = None

    def _take(self, data: bytes) -> None:
        if self._refusal is not None or self._reader is None:
            return
        try:
            if self._received > self._emulator.knobs.upload_limit_bytes:
                raise ApiError(413, "Request Entity Too Large")
            self._reader.feed(data)
        except (ApiError, BodyError) as error:
            self._refusal = error
            self._reader.abandon()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, self.args = path, {}
        if self._is_cut:
            return
        self._serving = Deferred.fromCoroutine(self._serve())
        self._serving.addErrback(self._fail)

    def _fail(self, failure: Any) -> None:
        self.log.failure("The emulator failed on {method}", failure, method=self._method_name)
        self._end()
        if not self._disconnected:
            self.transport.abortConnection()

    @property
    def _method_name(self) -> str:
        return self._record.method if self._record is not None else "a request"

    # -- the answer ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        arguments: Arguments | None = None
        try:
            await self._wait(self._link.stop_slowing())
            try:
                arguments = self._finish_body()
                await self._answer(arguments)
            except ApiError as error:
                await self._sleep(error.sleep_s)
                self._send_error(error)
            except BodyError as error:
                self._send_bare(error.code)
        except _Answered:
            pass
        except (_Cut, CancelledError):
            if not self._disconnected:
                self.transport.abortConnection()
        finally:
            if arguments is not None:
                arguments.discard()
            self._end()

    def _finish_body(self) -> Arguments:
        is_read = self.method == b"GET" or (self.method == b"HEAD" and self._is("file"))
        if not is_read and self.method != b"POST" and not self._is("control"):
            raise BodyError(501)
        if self._refusal is not None:
            raise self._refusal
        assert self._reader is not None
        reader, self._reader = self._reader, None
        try:
            return reader.finish()
        except BodyError:
            reader.abandon()
            raise

    def _is(self, kind: str) -> bool:
        return self._address is not None and self._address.kind == kind

    async def _answer(self, arguments: Arguments) -> None:
        assert self._address is not None
        if self._address.kind == "control":
            verb = self.method.decode("latin-1")
            result = await control.run(self._emulator, verb, self._address.rest, arguments)
            self._send(200, json.dumps(result, indent=1).encode() + b"\n")
            return
        record, bot = self._record, self._bot
        assert record is not None
        assert bot is not None
        record.arguments = arguments.texts
        record.chat_id = arguments.integer("chat_id") or None
        record.file_bytes = sum(upload.size_bytes for upload in arguments.files.values())
        await self._sleep(self._emulator.knobs.latency_s)
        await self._strike_before(record)
        if self._address.kind == "file":
            await self._send_file(bot, record, self._address.rest)
        else:
            await self._run(bot, record, arguments)

    async def _run(self, bot: Bot, record: Record, arguments: Arguments) -> None:
        emulator = self._emulator
        call = Call(
            state=emulator.state, knobs=emulator.knobs, limits=emulator.limits, bot=bot,
            method=record.method, arguments=arguments, record=record, clock=emulator.clock,
            local=emulator.local, sleep=self._sleep,
        )  # fmt: skip
        error: ApiError | None = None
        result = None
        try:
            result = await run_method(call)
        except ApiError as caught:
            error = caught
        await self._strike_after(record)
        if error is not None:
            raise error
        self._send(200, render_result(result))

    # -- faults of calls -----------------------------------------------------------------------------

    def _pick(self, phase: str, record: Record) -> Fault | None:
        fault = self._emulator.faults.pick(phase, record.method, record.bot_id, record.chat_id)
        if fault is not None:
            self._note(fault)
        return fault

    async def _strike_before(self, record: Record) -> None:
        fault = self._pick("before", record)
        if fault is None:
            return
        if fault.kind == "drop":
            raise _Cut
        if fault.kind == "stall":
            await self._stall(fault)
        elif fault.kind == "html":
            self._send_html(fault.code)
            raise _Answered
        else:
            raise fault.error()

    async def _strike_after(self, record: Record) -> None:
        fault = self._pick("after", record)
        if fault is None:
            return
        if fault.kind == "lost_acknowledgement":
            raise _Cut
        await self._stall(fault)

    async def _stall(self, fault: Fault) -> None:
        await self._wait(fault.seconds or None)

    async def _wait(self, seconds: float | None) -> None:
        """Wait; None is until the client leaves or the emulator goes down."""
        self._is_stuck = seconds is None
        await self._sleep(seconds)

    async def _sleep(self, seconds: float | None) -> None:
        if not self._disconnected:
            self._emulator.resting.add(self)
        try:
            await self._emulator.sleep(seconds)
        finally:
            self._emulator.resting.discard(self)

    # -- downloads -----------------------------------------------------------------------------------

    async def _send_file(self, bot: Bot, record: Record, path: str) -> None:
        file = None if self._emulator.local else self._emulator.state.file_at(bot.bot_id, path)
        if file is None or not file.path.exists():
            raise ApiError(404, "Not Found")
        asked = None
        record.range = self.getHeader("range")
        if self._emulator.knobs.range_honoured:
            asked = parse_range(record.range, file.size_bytes)
        start, stop = asked or (0, file.size_bytes)
        self._send_file_head(file.size_bytes, start, stop, is_part=asked is not None)
        if self.method == b"HEAD":
            self._finish()
            return
        sender = self._make_sender(record, file.path, start, stop)
        sender.start()
        # The client's reading and the clock drive it from here: time may pass.
        self._release()
        whole = await sender.done
        record.download_bytes = sender.sent
        if whole:
            self._finish()

    def _send_file_head(self, size: int, start: int, stop: int, *, is_part: bool) -> None:
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        if is_part:
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
        headers.append(("Content-Length", str(stop - start)))
        self._send_head(206 if is_part else 200, headers)
        self.write(b"")

    def _make_sender(self, record: Record, path: Any, start: int, stop: int) -> FileSender:
        options: dict[str, Any] = {}
        fault = self._pick("download", record)
        if fault is not None:
            place = start + self._emulator.faults.place(fault, stop - start)
            if fault.after_bytes is not None and start <= fault.after_bytes < stop:
                place = fault.after_bytes
            options = self._spoil(fault, min(place, stop - 1))
        return FileSender(
            path, start, stop, request=self, clock=self._emulator.clock, touch=self._emulator.touch,
            resting=self._emulator.resting, bytes_per_s=self._emulator.knobs.download_bytes_per_s, **options,
        )  # fmt: skip

    def _spoil(self, fault: Fault, place: int) -> dict[str, Any]:
        if fault.kind == "bit_flip":
            return {"flip_at": place}
        if fault.kind == "truncate":
            return {"stop_at": place, "on_stop": self._link.loseConnection}
        if fault.kind == "reset_download":
            return {"stop_at": place, "on_stop": self.transport.abortConnection}
        return {"stall_at": place, "stall_s": fault.seconds or None}

    # -- the end -------------------------------------------------------------------------------------

    def connectionLost(self, reason: Any) -> None:
        self._emulator.resting.discard(self)
        if self._serving is None:
            if self._reader is not None:
                self._reader.abandon()
            self._end()
        super().connectionLost(reason)
        if self._is_stuck and self._serving is not None:
            self._serving.cancel()

    def _end(self) -> None:
        if self._record is not None:
            self._emulator.close_record(self._record)
        self._release()

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self._emulator.release()
