# SPDX-License-Identifier: MIT
"""How answers look on the wire: heads as the Bot API server and the nginx before it write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web.http import Request

from tests.emulator.wire import REASONS, ApiError, render_error

if TYPE_CHECKING:
    from tests.emulator.calls import Record

# What nginx shows when the server behind it does not answer.
_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
)


class Reply(Request):
    """A request that can be answered, once, also when the client has gone."""

    def __init__(self, channel: Any, *args: Any) -> None:
        super().__init__(channel, *args)
        self._record: Record | None = None

    def _send_head(self, code: int, headers: list[tuple[str, str]]) -> None:
        if self._record is not None:
            self._record.status = code
        self.setResponseCode(code, REASONS.get(code, "Unknown").encode())
        closing = self.responseHeaders.getRawHeaders(b"Connection")
        self.responseHeaders.removeHeader(b"Connection")
        self.responseHeaders.setRawHeaders(b"Connection", closing or [b"keep-alive"])
        for name, value in headers:
            self.responseHeaders.setRawHeaders(name.encode(), [value.encode()])

    def _send(
        self, code: int, body: bytes, *, kind: str = "application/json", retry: int | None = None
    ) -> None:
        headers = [("Content-Type", kind)]
        if retry is not None:
            headers.append(("Retry-After", str(retry)))
        headers.append(("Content-Length", str(len(body))))
        self._send_head(code, headers)
        if not self._disconnected:
            self.write(body)
        self._finish()

    def _send_error(self, error: ApiError) -> None:
        if self._record is not None:
            self._record.description = error.description
        self._send(error.code, render_error(error), retry=error.retry_after_s)

    def _send_html(self, code: int) -> None:
        body = _HTML.format(f"{code} {REASONS.get(code, 'Error')}").encode()
        self._send(code, body, kind="text/html")

    def _send_bare(self, code: int) -> None:
        """Answer what could not even be read: a status line, no body, and the connection ends."""
        self._send_head(code, [("Content-Length", "0")])
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        self.channel.persistent = False
        self._finish()

    def _finish(self) -> None:
        if not self._disconnected and not self.finished:
            self.finish()
