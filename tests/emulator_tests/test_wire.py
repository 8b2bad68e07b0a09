# SPDX-License-Identifier: MIT
"""Addresses, bodies, envelopes, ids and marks: the parts without I/O."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator import file_ids, wire
from tests.emulator.entities import parse_text
from tests.emulator.wire import ApiError, BodyError, BodyReader

SECRET = "AAabcdefghijklmnopqrstuvwxyz012345678"


@pytest.mark.parametrize(
    ("uri", "kind", "rest"),
    [
        (f"/bot1:{SECRET}/getMe", "api", "getMe"),
        (f"/bot1:{SECRET}/test/getMe", "api", "getMe"),
        (f"/bot1:{SECRET}/getMe?x=1", "api", "getMe"),
        (f"/file/bot1:{SECRET}/documents/file_0.ts", "file", "documents/file_0.ts"),
        ("/_control/knobs", "control", "knobs"),
        ("/_control", "control", ""),
    ],
)
def test_addresses(uri, kind, rest):
    """Methods, files and control are told apart."""
    address = wire.parse_address(uri)
    assert (address.kind, address.rest) == (kind, rest)


@pytest.mark.parametrize(
    ("uri", "description"),
    [
        ("/", "Not Found"),
        ("/getMe", "Not Found"),
        ("http://x/bot1:2/getMe", "Not Found: absolute URI is specified in the Request-Line"),
    ],
)
def test_no_address(uri, description):
    """What is nothing is 404, with the server's words."""
    with pytest.raises(ApiError) as caught:
        wire.parse_address(uri)
    assert (caught.value.code, caught.value.description) == (404, description)


@pytest.mark.parametrize(
    ("token", "code", "description"),
    [
        ("0:x", 401, "Unauthorized: invalid token specified"),
        ("12345", 401, "Unauthorized: invalid token specified"),
        ("1:" + "a" * 80, 401, "Unauthorized: invalid token specified"),
        ("abc:def", 421, "Misdirected Request: unallowed token specified"),
        ("1:short", 401, "Unauthorized"),
        ("1:" + "!" * 30, 401, "Unauthorized"),
    ],
)
def test_bad_tokens(token, code, description):
    """Each malformed token gets the server's own answer."""
    with pytest.raises(ApiError) as caught:
        wire.parse_token(token)
    assert (caught.value.code, caught.value.description) == (code, description)


def test_envelopes():
    """Errors and results are written as the server writes them, without blanks and in ASCII."""
    assert wire.render_result({"a": "ü"}) == b'{"ok":true,"result":{"a":"\\u00fc"}}'
    assert wire.render_error(wire.too_many_requests(7)) == (
        b'{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7",'
        b'"parameters":{"retry_after":7}}'
    )
    assert wire.failure("MESSAGE_ID_INVALID").description == "Bad Request: MESSAGE_ID_INVALID"
    assert wire.failure("Chat not found").description == "Bad Request: chat not found"
    assert wire.failure("x", 404).code == 400


MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n-100\r\n'
    b'--b\r\nContent-Disposition: form-data; name="document"; filename="a.ts"\r\n'
    b"Content-Type: text/plain\r\n\r\n%s\r\n--b--\r\n"
)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 600), max_size=6))
def test_a_body_may_come_in_any_pieces(tmp_path_factory, data, cuts):
    """However the network cuts a multipart body, the same text and file come out."""
    if b"\r\n--b" in data:
        return
    place = tmp_path_factory.mktemp("body")
    body = MULTIPART % data
    reader = BodyReader("multipart/form-data; boundary=b", lambda: place / "file")
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, stop in pairwise(edges):
        if stop > start:
            reader.feed(body[start:stop])
    arguments = reader.finish()
    assert arguments.integer("chat_id") == -100
    upload = arguments.files["document"]
    assert (upload.filename, upload.size_bytes) == ("a.ts", len(data))
    assert upload.path.read_bytes() == data


def test_bodies_of_other_kinds(tmp_path):
    """JSON and forms are read as well; broken and boundless ones are refused."""
    reader = BodyReader("application/json", lambda: tmp_path / "x")
    reader.feed(b'{"chat_id": -5, "disable_notification": true, "ids": [1, 2]}')
    arguments = reader.finish()
    assert arguments.integer("chat_id") == -5
    assert arguments.flag("disable_notification")
    assert json.loads(arguments.text("ids")) == [1, 2]
    reader = BodyReader("application/x-www-form-urlencoded", lambda: tmp_path / "x")
    reader.feed(b"a=1&b=x+y")
    assert reader.finish().texts == {"a": "1", "b": "x y"}
    reader = BodyReader("multipart/form-data; boundary=b", lambda: tmp_path / "x")
    reader.feed(MULTIPART[:60])
    with pytest.raises(BodyError):
        reader.finish()
    with pytest.raises(BodyError):
        BodyReader("multipart/form-data", lambda: tmp_path / "x")
    reader = BodyReader("application/json", lambda: tmp_path / "x")
    with pytest.raises(BodyError) as caught:
        reader.feed(bytes(wire.MAX_TEXT_BYTES + 1))
    assert caught.value.code == 413


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("bytes=0-", (0, 10)), ("bytes=3-4", (3, 5)), ("bytes=-4", (6, 10)),
        ("bytes=8-99", (8, 10)), ("bytes=-", None), ("bytes=5-2", None), ("lines=1-2", None),
        ("bytes=1-2,4-5", None),
    ],
)  # fmt: skip
def test_ranges(header, expected):
    """Single ranges are honoured, what is malformed is passed over."""
    assert wire.parse_range(header, 10) == expected


@given(
    number=st.integers(0, 2**62), bot_id=st.integers(1, 2**40), reference=st.binary(min_size=29, max_size=29)
)
def test_a_file_id_survives(number, bot_id, reference):
    """A file_id is read back as it was written, whatever zeros it contains."""
    hashed = file_ids.access_hash(b"key", bot_id, number)
    made = file_ids.FileId(file_type=file_ids.DOCUMENT, number=number, access_hash=hashed)
    text = file_ids.render_file_id(made, reference)
    assert text.startswith("BQACAgIAAx")
    assert len(text) <= 90
    assert file_ids.parse_file_id(text) == made


@given(st.text(max_size=90))
def test_no_text_is_taken_for_a_file_id(text):
    """Whatever is sent as a file_id is refused in order, never with a crash."""
    with pytest.raises(file_ids.BadFileId):
        file_ids.parse_file_id(text)


@pytest.mark.parametrize(
    ("mode", "text", "plain", "kinds"),
    [
        ("", "*x*", "*x*", []),
        ("Markdown", "_a_ *b* `c`", "a b c", ["italic", "bold", "code"]),
        ("Markdown", "\\_a\\_ [l](http://x)", "_a_ l", ["text_link"]),
        ("MarkdownV2", "__u__ ||s|| ~d~ \\.", "u s d .", ["underline", "spoiler", "strikethrough"]),
        ("HTML", "<b>a</b> &lt; <i>b</i>", "a < b", ["bold", "italic"]),
    ],
)
def test_parse_modes(mode, text, plain, kinds):
    """Marks become entities and leave the text."""
    parsed, entities = parse_text(text, mode)
    assert parsed == plain
    assert [entity["type"] for entity in entities] == kinds


def test_entities_count_utf16():
    """Offsets and lengths are in UTF-16 code units."""
    _, (entity,) = parse_text("😀 *x*", "Markdown")
    assert (entity["offset"], entity["length"]) == (3, 1)


@pytest.mark.parametrize(
    ("mode", "text"),
    [("Markdown", "*x"), ("MarkdownV2", "a.b"), ("HTML", "<b>x"), ("HTML", "<x>"), ("Foo", "x")],
)
def test_marks_that_cannot_be_parsed(mode, text):
    """Unclosed, unescaped and unknown marks are refused."""
    with pytest.raises(ApiError):
        parse_text(text, mode)
