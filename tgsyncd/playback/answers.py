# SPDX-License-Identifier: MIT
"""Answers over HTTP: headers, conditions and ranges, JSON, errors that wait."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.error import AlreadyCalled, AlreadyCancelled

from tgsyncd.formats.http_range import (
    ByteRange,
    Unsatisfiable,
    if_none_match_hits,
    if_range_holds,
    parse_range,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

NO_CACHE = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"

READING_METHODS = (b"GET", b"HEAD")
PLAYBACK_METHODS = "GET, HEAD, OPTIONS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """What is known of a body before it is sent."""

    size_bytes: int
    etag: str
    """Strong, with its quotes."""
    content_type: str
    cache_control: str


def segment_etag(sha256: str) -> str:
    """Return the strong ETag of a segment with this sha256, with its quotes."""
    return f'"{sha256[:32]}"'


def etag_of(body: bytes) -> str:
    """Return a strong ETag, with its quotes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def set_headers(request: Request, headers: Mapping[str, str]) -> None:
    """Set response headers."""
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])


COMMON_HEADERS = {
    "Server": "tgsyncd",
    "X-Content-Type-Options": "nosniff",
    # A capability in the path must not reach other sites.
    "Referrer-Policy": "no-referrer",
}
"""What every answer carries."""

CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, Date, ETag",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""They let web players on other origins read the answer: jellyfin-web fetches from us directly."""


def headers_of(representation: Representation) -> Mapping[str, str]:
    """Return what an answer with it carries, but for how long it is."""
    return {
        "Content-Type": representation.content_type,
        "Cache-Control": representation.cache_control,
        "ETag": representation.etag,
        "Accept-Ranges": "bytes",
    }


def send_preflight(request: Request) -> None:
    """Answer an OPTIONS request on a playback route."""
    set_headers(
        request,
        {
            "Allow": PLAYBACK_METHODS,
            "Access-Control-Allow-Methods": PLAYBACK_METHODS,
            "Access-Control-Allow-Headers": "If-None-Match, If-Range, Range",
            "Access-Control-Max-Age": "86400",
            # Chromium asks before a page from the internet may reach a server in the LAN.
            "Access-Control-Allow-Private-Network": "true",
        },
    )
    request.setResponseCode(204)
    request.finish()


def send_json(request: Request, code: int, value: object) -> None:
    """Answer with JSON."""
    send_bytes(
        request,
        code,
        json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n",
        content_type="application/json",
    )


def send_bytes(request: Request, code: int, body: bytes, *, content_type: str) -> None:
    """Answer with a short body."""
    request.setResponseCode(code)
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    set_headers(request, headers)
    if not request.responseHeaders.hasHeader("Cache-Control"):
        set_headers(request, {"Cache-Control": NO_CACHE})
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


def send_error(request: Request, code: int, message: str) -> None:
    """Answer with an error as short JSON."""
    send_json(request, code, {"error": message})


def send_error_later(
    reactor: IReactorTime, delay_s: float, request: Request, code: int, message: str
) -> None:
    """Answer with an error after a while, unless the client has gone by then."""
    call = reactor.callLater(delay_s, send_error, request, code, message)

    def gone(_: object) -> None:
        with suppress(AlreadyCalled, AlreadyCancelled):
            call.cancel()

    request.notifyFinish().addErrback(gone)


def begin(request: Request, representation: Representation) -> ByteRange | None:
    """
    Decide and send the head of an answer; return what of the body is still to be sent.

    None means that the answer is complete: HEAD, 304, 416.
    """
    size, etag = representation.size_bytes, representation.etag
    set_headers(request, headers_of(representation))
    if if_none_match_hits(request.getHeader("If-None-Match"), etag):
        request.setResponseCode(304)
        request.responseHeaders.removeHeader("Content-Type")
        request.finish()
        return None
    wanted = _wanted_range(request, size, etag)
    if isinstance(wanted, Unsatisfiable):
        set_headers(request, {"Content-Range": f"bytes */{size}", "Cache-Control": NO_CACHE})
        request.responseHeaders.removeHeader("ETag")
        send_error(request, 416, "one range within the content, please")
        return None
    if wanted is not None:
        request.setResponseCode(206)
        content_range = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
        set_headers(request, {"Content-Range": content_range})
    body = wanted or ByteRange(start=0, stop=size)
    set_headers(request, {"Content-Length": str(body.stop - body.start)})
    if request.method == b"HEAD":
        request.finish()
        return None
    return body


def _wanted_range(request: Request, size: int, etag: str) -> ByteRange | Unsatisfiable | None:
    # Range is defined for GET only (RFC 9110, 14.2): HEAD tells the length of the whole.
    if request.method != b"GET" or not if_range_holds(request.getHeader("If-Range"), etag):
        return None
    return parse_range(request.getHeader("Range"), size)
