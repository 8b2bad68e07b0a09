# SPDX-License-Identifier: MIT
"""Documents go in, come out, and belong to one bot under each file_id."""

from __future__ import annotations

import pytest_twisted

SECOND_DAY_S = 2 * 86400


@pytest_twisted.ensureDeferred
async def test_a_document_comes_back_byte_for_byte(rig):
    """What was sent is what is downloaded."""
    data = bytes(range(256)) * 1000
    message = (await rig.send(data, caption="hello")).result
    assert message["document"]["file_size"] == len(data)
    assert message["caption"] == "hello"
    file = (await rig.call("getFile", file_id=message["document"]["file_id"])).result
    assert file["file_path"] == "documents/file_0.ts"
    answer = await rig.download(file["file_path"])
    assert (answer.status, answer.body) == (200, data)


@pytest_twisted.ensureDeferred
async def test_ids_have_telegrams_shape(rig):
    """file_ids start as Telegram's do and change; the unique id stays."""
    one = (await rig.send(b"x")).result["document"]
    again = (await rig.call("getFile", file_id=one["file_id"])).result
    assert one["file_id"].startswith("BQACAgIAAx")
    assert one["file_unique_id"].startswith("AgAD")
    assert again["file_id"] != one["file_id"]
    assert again["file_unique_id"] == one["file_unique_id"]


@pytest_twisted.ensureDeferred
async def test_another_bots_file_id_is_useless(rig):
    """A file_id is for one bot only; forwarding the message gives the other bot its own."""
    message = (await rig.send(b"data")).result
    answer = await rig.call("getFile", bot=rig.two, file_id=message["document"]["file_id"])
    assert answer.body["description"] == "Bad Request: wrong file_id or the file is temporarily unavailable"
    sent = await rig.call(
        "sendDocument", bot=rig.two, chat_id=rig.channel.chat_id, document=message["document"]["file_id"]
    )
    assert sent.body["description"] == "Bad Request: wrong file identifier/HTTP URL specified"
    copy = await rig.call(
        "forwardMessage", bot=rig.two, chat_id=rig.scratch.chat_id, from_chat_id=rig.channel.chat_id,
        message_id=message["message_id"],
    )  # fmt: skip
    document = copy.result["document"]
    assert document["file_unique_id"] == message["document"]["file_unique_id"]
    file = (await rig.call("getFile", bot=rig.two, file_id=document["file_id"])).result
    assert (await rig.download(file["file_path"], bot=rig.two)).body == b"data"


@pytest_twisted.ensureDeferred
async def test_a_file_path_expires_after_an_hour(rig):
    """After an hour the address is 404, and getFile gives a new number."""
    document = (await rig.send(b"data")).result["document"]
    first = (await rig.call("getFile", file_id=document["file_id"])).result["file_path"]
    rig.clock.advance(3601)
    answer = await rig.download(first)
    assert (answer.status, answer.body["description"]) == (404, "Not Found")
    second = (await rig.call("getFile", file_id=document["file_id"])).result["file_path"]
    assert (first, second) == ("documents/file_0.ts", "documents/file_1.ts")


@pytest_twisted.ensureDeferred
async def test_a_range_is_honoured_or_ignored(rig):
    """206 with the part asked for, 416 behind the end, 200 with the whole when Range is off."""
    document = (await rig.send(b"0123456789")).result["document"]
    path = (await rig.call("getFile", file_id=document["file_id"])).result["file_path"]
    part = await rig.download(path, headers={"Range": "bytes=4-"})
    assert (part.status, part.body) == (206, b"456789")
    assert part.headers["content-range"] == "bytes 4-9/10"
    assert (await rig.download(path, headers={"Range": "bytes=2-3"})).body == b"23"
    assert (await rig.download(path, headers={"Range": "bytes=-3"})).body == b"789"
    assert (await rig.download(path, headers={"Range": "bytes=10-"})).status == 416
    rig.emulator.knobs.range_honoured = False
    whole = await rig.download(path, headers={"Range": "bytes=4-"})
    assert (whole.status, whole.body) == (200, b"0123456789")


@pytest_twisted.ensureDeferred
async def test_a_message_is_deletable_for_two_days(rig):
    """One second before 48 hours it goes, at 48 hours it stays: also for an administrator."""
    numbers = [(await rig.send(b"x")).result["message_id"] for _ in range(2)]
    chat = rig.channel.chat_id
    rig.clock.advance(SECOND_DAY_S - 60)
    assert (await rig.call("deleteMessage", chat_id=chat, message_id=numbers[0])).result is True
    rig.clock.advance(60)
    late = await rig.call("deleteMessage", chat_id=chat, message_id=numbers[1])
    assert late.body["description"] == "Bad Request: message can't be deleted"
    gone = await rig.call("deleteMessage", chat_id=chat, message_id=numbers[0])
    assert gone.body["description"] == "Bad Request: message to delete not found"
    several = await rig.call("deleteMessages", chat_id=chat, message_ids=[numbers[0], 777])
    assert several.result is True
    several = await rig.call("deleteMessages", chat_id=chat, message_ids=numbers)
    assert several.status == 400
