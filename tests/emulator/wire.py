# SPDX-License-Identifier: MIT
"""
The Bot API on the wire, sans I/O: addresses, request bodies, envelopes and errors.

Bodies are fed in as they arrive; files go straight to disk, so that eight uploads of 20 MB at once
need no memory.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, unquote

from multipart import MultipartError, PushMultipartParser, parse_options_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# TDLib's HttpReader: all text parameters together, and files in one request.
MAX_TEXT_BYTES = 1 << 20
MAX_FILES = 50

REASONS = {
    200: "OK", 206: "Partial Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 409: "Conflict", 413: "Request Entity Too Large", 416: "Range Not Satisfiable",
    421: "Misdirected Request", 429: "Too Many Requests", 500: "Internal Server Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip

_PREFIXES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 500: "Internal Server Error",
}  # fmt: skip


class ApiError(Exception):
    """An answer with ``"ok":false``. ``description`` is the whole text on the wire."""

    def __init__(
        self,
        code: int,
        description: str,
        *,
        retry_after_s: int | None = None,
        migrate_to_chat_id: int | None = None,
        sleep_s: float = 0.0,
    ) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after_s = retry_after_s
        self.migrate_to_chat_id = migrate_to_chat_id
        self.sleep_s = sleep_s
        """How long the real server lets the client wait before it says so."""


class BodyError(Exception):
    """The request cannot be read: a bare status line is the answer, and the connection ends."""

    def __init__(self, code: int) -> None:
        super().__init__(REASONS[code])
        self.code = code


def failure(message: str, code: int = 400) -> ApiError:
    """Make the error as the server does: prefix by code, first letter lowered unless it is a name."""
    if code < 400 or code == 404 or code not in _PREFIXES:
        code = 400
    if message and not (len(message) > 1 and (message[1] == "_" or message[1].isupper())):
        message = message[0].lower() + message[1:]
    return ApiError(code, f"{_PREFIXES[code]}: {message}")


def too_many_requests(retry_after_s: int, *, sleep_s: float = 0.0) -> ApiError:
    return ApiError(
        429,
        f"Too Many Requests: retry after {retry_after_s}",
        retry_after_s=retry_after_s,
        sleep_s=sleep_s,
    )


def render_result(result: Any) -> bytes:
    return _dump({"ok": True, "result": result})


def render_error(error: ApiError) -> bytes:
    body: dict[str, Any] = {
        "ok": False,
        "error_code": error.code,
        "description": error.description,
    }
    if error.retry_after_s is not None:
        body["parameters"] = {"retry_after": error.retry_after_s}
    if error.migrate_to_chat_id is not None:
        body["parameters"] = {"migrate_to_chat_id": error.migrate_to_chat_id}
    return _dump(body)


def _dump(value: Any) -> bytes:
    # TDLib's writer puts no blanks and escapes everything outside ASCII, as json.dumps does by default.
    return json.dumps(value, separators=(",", ":")).encode()


# -- addresses -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """``kind`` is "api", "file" or "control"; ``rest`` is the method, the file_path or the control verb."""

    kind: str
    token: str = ""
    rest: str = ""


_API = re.compile(r"/bot([^/]*)(/test)?/([^/]*)/?")
_FILE = re.compile(r"/file/bot([^/]*)(?:/test)?/(.+)")


def parse_address(uri: str) -> Address:
    """Tell what is asked for. Raises ApiError 404 for what is nothing."""
    if not uri.startswith("/"):
        raise ApiError(404, "Not Found: absolute URI is specified in the Request-Line")
    path = unquote(uri.partition("?")[0])
    if path == "/_control" or path.startswith("/_control/"):
        return Address(kind="control", rest=path.removeprefix("/_control").strip("/"))
    if match := _FILE.fullmatch(path):
        return Address(kind="file", token=match[1], rest=match[2])
    if match := _API.fullmatch(path):
        return Address(kind="api", token=match[1], rest=match[3])
    raise ApiError(404, "Not Found")


def parse_token(token: str) -> tuple[int, str]:
    """Split a token into bot id and secret as the server does, or raise its 401 or 421."""
    if not token or token[0] == "0" or len(token) > 80 or ":" not in token:
        raise ApiError(401, "Unauthorized: invalid token specified")
    bot_id, _, secret = token.partition(":")
    if not bot_id.isdecimal():
        raise ApiError(421, "Misdirected Request: unallowed token specified")
    if not re.fullmatch(r"[A-Za-z0-9_-]{24,}", secret):
        raise ApiError(401, "Unauthorized")
    return int(bot_id), secret


# -- bodies ----------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Upload:
    """A file that came in; ``path`` is a temporary file until somebody keeps it."""

    field: str
    filename: str
    path: Path
    size_bytes: int = 0


@dataclass(slots=True)
class Arguments:
    """Text parameters and files of one call."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return self.texts.get(name, "")

    def text_or_file(self, name: str) -> str:
        """Return the text, or the part's name when the argument is itself a file."""
        return self.text(name) or (name if name in self.files else "")

    def flag(self, name: str) -> bool:
        return self.text(name).strip().lower() in {"true", "yes", "1"}

    def integer(self, name: str) -> int:
        """Return the number, or 0 for what is none: the server's ``to_integer`` does the same."""
        match = re.match(r"\s*(-?\d+)", self.text(name))
        return int(match[1]) if match else 0

    def json(self, name: str, description: str) -> Any:
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise failure(description) from error

    def discard(self) -> None:
        """Remove the temporary files that nobody kept."""
        for upload in self.files.values():
            upload.path.unlink(missing_ok=True)


def parse_query(uri: str) -> dict[str, str]:
    return dict(parse_qsl(uri.partition("?")[2], keep_blank_values=True))


class BodyReader:
    """Takes a body in pieces and ends as ``Arguments``. Raises BodyError when it cannot be read."""

    def __init__(self, content_type: str, new_file: Callable[[], Path]) -> None:
        kind, options = parse_options_header(content_type)
        self.arguments = Arguments()
        self._kind = kind
        self._new_file = new_file
        self._text = bytearray()
        self._text_bytes = 0
        self._upload: Upload | None = None
        self._out: BinaryIO | None = None
        self._name = ""
        self._parser: PushMultipartParser | None = None
        if kind == "multipart/form-data":
            try:
                self._parser = PushMultipartParser(options.get("boundary", ""))
            except MultipartError as error:
                raise BodyError(400) from error

    def feed(self, data: bytes) -> None:
        if self._parser is None:
            self._take_text(data)
            return
        try:
            for event in self._parser.parse(data):
                self._take(event)
        except MultipartError as error:
            raise BodyError(400) from error

    def _take(self, event: Any) -> None:
        if event is None:
            self._end_part()
        elif isinstance(event, (bytes, bytearray)):
            if self._out is None or self._upload is None:
                self._take_text(event)
            else:
                self._out.write(event)
                self._upload.size_bytes += len(event)
        else:
            self._begin_part(event)

    def _begin_part(self, part: Any) -> None:
        self._name = part.name
        self._text.clear()
        if part.filename is None:
            return
        if len(self.arguments.files) >= MAX_FILES:
            raise BodyError(413)
        path = self._new_file()
        self._upload = Upload(field=part.name, filename=part.filename, path=path)
        # Known before it is complete: what breaks off is discarded with the rest.
        self.arguments.files[part.name] = self._upload
        self._out = path.open("wb", buffering=0)

    def _end_part(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = self._upload = None
        else:
            self.arguments.texts[self._name] = self._text.decode(errors="replace")
            self._text.clear()

    def _take_text(self, data: bytes) -> None:
        self._text_bytes += len(data)
        if self._text_bytes > MAX_TEXT_BYTES:
            raise BodyError(413)
        self._text += data

    def finish(self) -> Arguments:
        if self._parser is not None:
            try:
                self._parser.close()
            except MultipartError as error:
                raise BodyError(400) from error
        elif self._kind == "application/json":
            self._finish_json()
        elif self._kind == "application/x-www-form-urlencoded":
            self.arguments.texts.update(parse_qsl(self._text.decode(), keep_blank_values=True))
        return self.arguments

    def _finish_json(self) -> None:
        try:
            values = json.loads(self._text) if self._text else {}
            items = values.items()
        except (ValueError, AttributeError) as error:
            raise failure("can't parse request parameters JSON object") from error
        for name, value in items:
            self.arguments.texts[name] = value if isinstance(value, str) else json.dumps(value)

    def abandon(self) -> None:
        """Close and remove what came so far."""
        if self._out is not None:
            self._out.close()
            self._out = None
        self.arguments.discard()


# -- Range -----------------------------------------------------------------------------------------


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """
    Return [start, stop) of a single byte range; None when there is none or it is malformed.

    Raises ApiError 416 when it lies behind the end.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return None
    if start >= size or stop <= start:
        raise ApiError(416, "Range Not Satisfiable")
    return start, stop
