# SPDX-License-Identifier: MIT
"""Chats: who may do what, how messages are numbered, pins, albums, edits, and what survives a restart."""

from __future__ import annotations

import io
import json

import pytest
import pytest_twisted

from tests.emulator.server import Emulator


async def refusal(rig, method, **values):
    answer = await rig.call(method, **values)
    assert not answer.body["ok"]
    return answer.status, answer.body["description"], answer.body.get("parameters")


@pytest_twisted.ensureDeferred
async def test_what_a_bot_meets_in_chats(rig):
    """Unknown, kicked, left, migrated, deleted: the server's words and codes."""
    chat = rig.channel.chat_id
    assert (await refusal(rig, "getChat"))[1] == "Bad Request: chat_id is empty"
    assert (await refusal(rig, "getChat", chat_id=-5))[1] == "Bad Request: chat not found"
    rig.state.set_member(chat, rig.one, "kicked")
    assert await refusal(rig, "getChat", chat_id=chat) == (
        403, "Forbidden: bot was kicked from the channel chat", None,
    )  # fmt: skip
    rig.state.set_member(chat, rig.one, "left")
    assert (await refusal(rig, "getChat", chat_id=chat))[1] == (
        "Forbidden: bot is not a member of the channel chat"
    )
    rig.state.set_member(chat, rig.one, can_post_messages=False)
    assert (await refusal(rig, "sendMessage", chat_id=chat, text="x"))[1] == (
        "Bad Request: need administrator rights in the channel chat"
    )
    group = rig.state.add_chat("group", bots=[rig.one])
    new = rig.state.migrate_chat(group.chat_id)
    assert await refusal(rig, "sendMessage", chat_id=group.chat_id, text="x") == (
        400, "Bad Request: group chat was upgraded to a supergroup chat",
        {"migrate_to_chat_id": new.chat_id},
    )  # fmt: skip
    assert (await rig.call("sendMessage", chat_id=new.chat_id, text="x")).status == 200
    rig.state.set_chat(rig.scratch.chat_id, deleted=True)
    assert (await refusal(rig, "getChat", chat_id=rig.scratch.chat_id))[0] == 403


@pytest_twisted.ensureDeferred
async def test_a_revoked_token_is_worthless_and_a_new_one_is_the_same_bot(rig):
    """401 after the revocation; with the new token the bot's old file_ids still work."""
    file_id = (await rig.send(b"data")).result["document"]["file_id"]
    old = rig.one
    rig.state.revoke_token(old.bot_id)
    assert await refusal(rig, "getMe", bot=old) == (401, "Unauthorized", None)
    new = rig.state.renew_token(old.bot_id)
    assert (new.bot_id, new.token != old.token) == (old.bot_id, True)
    assert (await rig.call("getFile", bot=new, file_id=file_id)).status == 200


@pytest_twisted.ensureDeferred
async def test_numbers_are_shared_in_channels_and_private_in_groups(rig):
    """In a channel both bots know a message by one number; in a basic group each has its own."""
    first = (await rig.send(b"1")).result["message_id"]
    second = (await rig.send(b"2", bot=rig.two)).result["message_id"]
    assert second == first + 1
    group = rig.state.add_chat("group", bots=[rig.one, rig.two])
    alone = rig.state.add_chat("private", bots=[rig.two])
    await rig.call("sendMessage", bot=rig.two, chat_id=alone.chat_id, text="moves two's count on")
    sent = (await rig.call("sendMessage", chat_id=group.chat_id, text="x")).result["message_id"]
    (mine,) = rig.state.posts(group, rig.one.bot_id)
    (theirs,) = rig.state.posts(group, rig.two.bot_id)
    assert (sent, mine.message_id, theirs.message_id) == (1, 1, 2)


@pytest_twisted.ensureDeferred
async def test_the_pinned_message_is_the_way_back(rig):
    """getChat shows the newest pin with a file_id of the asking bot; a pin takes a number."""
    chat = rig.channel.chat_id
    first = (await rig.send(b"old")).result["message_id"]
    second = (await rig.send(b"catalog")).result["message_id"]
    for number in (second, first):
        assert (await rig.call("pinChatMessage", chat_id=chat, message_id=number)).result is True
    pinned = (await rig.call("getChat", bot=rig.two, chat_id=chat)).result["pinned_message"]
    assert pinned["message_id"] == second
    file_id = pinned["document"]["file_id"]
    assert (await rig.call("getFile", bot=rig.two, file_id=file_id)).status == 200
    assert (await rig.send(b"next")).result["message_id"] == second + 3
    await rig.call("unpinChatMessage", chat_id=chat, message_id=second)
    assert (await rig.call("getChat", chat_id=chat)).result["pinned_message"]["message_id"] == first
    await rig.call("unpinAllChatMessages", chat_id=chat)
    assert "pinned_message" not in (await rig.call("getChat", chat_id=chat)).result
    rig.state.set_member(chat, rig.one, can_edit_messages=False)
    assert (await refusal(rig, "pinChatMessage", chat_id=chat, message_id=first))[1] == (
        "Bad Request: not enough rights to manage pinned messages in the chat"
    )


@pytest_twisted.ensureDeferred
async def test_chats_tell_what_endangers_documents(rig):
    """Auto-delete timers and protected content are in getChat; protected messages are not forwarded."""
    chat = rig.channel.chat_id
    number = (await rig.send(b"x")).result["message_id"]
    rig.state.set_chat(chat, auto_delete_s=86400, protected=True)
    shown = (await rig.call("getChat", chat_id=chat)).result
    assert (shown["message_auto_delete_time"], shown["has_protected_content"]) == (86400, True)
    assert {"max_reaction_count", "accent_color_id", "accepted_gift_types"} <= set(shown)
    assert (
        await refusal(
            rig, "forwardMessage", chat_id=rig.scratch.chat_id, from_chat_id=chat, message_id=number
        )
    )[1] == "Bad Request: message has protected content and can't be forwarded"


@pytest_twisted.ensureDeferred
async def test_rights_are_told(rig):
    """getChatMember shows an administrator's rights, as far as the chat's type has them."""
    rig.state.set_member(rig.channel.chat_id, rig.two, can_delete_messages=False)
    member = (await rig.call("getChatMember", chat_id=rig.channel.chat_id, user_id=rig.two.bot_id)).result
    assert member["status"] == "administrator"
    assert (member["can_post_messages"], member["can_delete_messages"]) == (True, False)
    assert "can_pin_messages" not in member
    admins = (await rig.call("getChatAdministrators", chat_id=rig.channel.chat_id, return_bots=True)).result
    assert {admin["user"]["id"] for admin in admins} == {rig.one.bot_id, rig.two.bot_id}


@pytest_twisted.ensureDeferred
async def test_an_album_is_several_messages(rig):
    """sendMediaGroup stores each document as a message of one media group, or none of them."""
    media = [
        {"type": "document", "media": "attach://a", "caption": "one"},
        {"type": "document", "media": "attach://b"},
    ]
    files = {"a": ("a.bin", io.BytesIO(b"aa")), "b": ("b.bin", io.BytesIO(b"bbb"))}
    chat = str(rig.channel.chat_id)
    sent = (await rig.call("sendMediaGroup", files=files, chat_id=chat, media=json.dumps(media))).result
    assert [message["document"]["file_size"] for message in sent] == [2, 3]
    assert len({message["media_group_id"] for message in sent}) == 1
    files = {"a": ("a.bin", io.BytesIO(b"aa")), "b": ("b.bin", io.BytesIO(b""))}
    answer = await rig.call("sendMediaGroup", files=files, chat_id=chat, media=json.dumps(media))
    assert answer.body["description"] == (
        'Bad Request: failed to send message #2 with the error message "Bad Request: file must be non-empty"'
    )
    assert len(rig.state.documents(rig.channel)) == 2


@pytest_twisted.ensureDeferred
async def test_own_messages_may_be_edited_for_ever(rig):
    """editMessageMedia replaces a document after a year, keeps the number, and says edit_date."""
    number = (await rig.send(b"large" * 1000)).result["message_id"]
    rig.clock.advance(365 * 86400)
    media = json.dumps({"type": "document", "media": "attach://new", "caption": "gone"})
    edited = (
        await rig.call(
            "editMessageMedia", files={"new": ("t.txt", io.BytesIO(b"-"))},
            chat_id=str(rig.channel.chat_id), message_id=str(number), media=media,
        )
    ).result  # fmt: skip
    assert (edited["message_id"], edited["document"]["file_size"]) == (number, 1)
    assert edited["edit_date"] > edited["date"]
    same = await refusal(
        rig, "editMessageCaption", chat_id=rig.channel.chat_id, message_id=number, caption="gone"
    )
    assert "message is not modified" in same[1]
    rig.state.set_member(rig.channel.chat_id, rig.two, can_edit_messages=False)
    assert (
        await refusal(
            rig,
            "editMessageCaption",
            bot=rig.two,
            chat_id=rig.channel.chat_id,
            message_id=number,
            caption="x",
        )
    )[1] == "Bad Request: message can't be edited"


@pytest_twisted.ensureDeferred
async def test_a_copy_answers_a_number_only(rig):
    """copyMessage gives no file_id, and no forward origin."""
    number = (await rig.send(b"x", caption="one")).result["message_id"]
    answer = await rig.call(
        "copyMessage", chat_id=rig.scratch.chat_id, from_chat_id=rig.channel.chat_id, message_id=number
    )
    assert set(answer.result) == {"message_id"}
    (copy,) = rig.state.documents(rig.scratch)
    assert copy.caption == "one"


@pytest.mark.parametrize(
    ("values", "description"),
    [
        ({"caption": "x" * 1025}, "Bad Request: message caption is too long"),
        ({"document": ""}, "Bad Request: there is no document in the request"),
        (
            {"document": "nonsense"},
            "Bad Request: wrong remote file identifier specified: can't unserialize it. Wrong last symbol",
        ),
        ({"document": "http://x/y"}, "Bad Request: wrong file identifier/HTTP URL specified"),
        ({"document": "file:///etc/passwd"}, "Bad Request: wrong file identifier/HTTP URL specified"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_documents_that_are_refused(rig, values, description):
    """Each mistake gets the server's words."""
    got = await refusal(rig, "sendDocument", chat_id=rig.channel.chat_id, **values)
    assert got[1] == description


@pytest_twisted.ensureDeferred
async def test_everything_survives_a_restart(rig, tmp_path):
    """A new emulator on the same directory knows bots, chats, messages, pins and files."""
    message = (await rig.send(b"kept", caption="c")).result
    await rig.call("pinChatMessage", chat_id=rig.channel.chat_id, message_id=message["message_id"])
    await rig.emulator.go_down()
    again = Emulator(rig.reactor, rig.clock, tmp_path / "state", port=rig.emulator.port)
    await again.start()
    try:
        file = (await rig.call("getFile", file_id=message["document"]["file_id"])).result
        assert (await rig.download(file["file_path"])).body == b"kept"
        shown = (await rig.call("getChat", chat_id=rig.channel.chat_id)).result
        assert shown["pinned_message"]["caption"] == "c"
        assert again.state.bot(rig.one.bot_id).token == rig.one.token
    finally:
        await again.stop()


@pytest_twisted.ensureDeferred
async def test_a_local_server_lays_files_on_disk(rig, tmp_path):
    """--local: absolute file_path, any size, no /file, file:// uploads; a removed file is not lost."""
    await rig.emulator.go_down()
    local = Emulator(rig.reactor, rig.clock, tmp_path / "state", port=rig.emulator.port, local=True)
    local.knobs.download_limit_bytes = 10
    await local.start()
    try:
        source = tmp_path / "source.bin"
        source.write_bytes(b"0123456789abcdef")
        sent = await rig.call("sendDocument", chat_id=rig.channel.chat_id, document=source.as_uri())
        file_id = sent.result["document"]["file_id"]
        from pathlib import Path

        for _ in range(2):
            path = Path((await rig.call("getFile", file_id=file_id)).result["file_path"])
            assert path.is_absolute()
            assert path.read_bytes() == b"0123456789abcdef"
            path.unlink()
        assert (await rig.download("documents/file_0.bin")).status == 404
    finally:
        await local.stop()


@pytest_twisted.ensureDeferred
async def test_too_large_for_the_cloud(rig):
    """getFile refuses what is larger than 20 MiB, and only that."""
    assert rig.emulator.knobs.download_limit_bytes == 20_971_520
    rig.emulator.knobs.download_limit_bytes = 4
    fits = (await rig.send(b"1234")).result["document"]["file_id"]
    over = (await rig.send(b"12345")).result["document"]["file_id"]
    assert (await rig.call("getFile", file_id=fits)).status == 200
    assert (await refusal(rig, "getFile", file_id=over))[1] == "Bad Request: file is too big"


@pytest_twisted.ensureDeferred
async def test_after_log_out_everything_says_so(rig):
    """logOut frees the bot for a local server."""
    assert (await rig.call("logOut")).result is True
    assert await refusal(rig, "getMe") == (400, "Logged out", None)


@pytest_twisted.ensureDeferred
async def test_deleted_files_may_stop_working(rig):
    """With deleted_files_work off, a file_id without a message is as good as lost."""
    message = (await rig.send(b"x")).result
    rig.emulator.knobs.deleted_files_work = False
    file_id = message["document"]["file_id"]
    assert (await rig.call("getFile", file_id=file_id)).status == 200
    await rig.call("deleteMessage", chat_id=rig.channel.chat_id, message_id=message["message_id"])
    assert (await rig.call("getFile", file_id=file_id)).status == 400


@pytest_twisted.ensureDeferred
async def test_no_token_is_written_to_disk(rig):
    """The state holds digests: a search for a token finds nothing."""
    rig.state.add_bot("given", token="123456:CANARY-canary-canary-canary-canary")
    await rig.send(b"x")
    for path in rig.state.directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert rig.one.token.partition(":")[2].encode() not in data
            assert b"CANARY" not in data
