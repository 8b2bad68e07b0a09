# SPDX-License-Identifier: MIT
"""The bot itself, chats, members and pins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.emulator.wire import ApiError, failure

if TYPE_CHECKING:
    from tests.emulator.calls import Call
    from tests.emulator.values import Chat, Post


def get_me(call: Call) -> dict[str, Any]:
    return call.answers.me()


def log_out(call: Call) -> bool:
    """Free the bot for a local server; every later call says "Logged out"."""
    call.state.set_logged_out(call.bot.bot_id, logged_out=True)
    return True


def close(call: Call) -> bool:
    return True


def get_chat(call: Call) -> dict[str, Any]:
    return call.answers.full_chat(call.find_chat())


def get_chat_member(call: Call) -> dict[str, Any]:
    chat = call.find_chat()
    user_id = call.arguments.integer("user_id")
    person = call.state.chat(user_id)
    is_known = user_id in {bot.bot_id for bot in call.state.bots()} or (
        person is not None and person.type == "private"
    )
    if not is_known:
        raise failure("invalid user_id specified" if user_id <= 0 else "user not found")
    return call.answers.member(chat, user_id)


def get_chat_administrators(call: Call) -> list[dict[str, Any]]:
    chat = call.find_chat()
    if chat.type == "private":
        raise failure("there are no administrators in the private chat")
    # Other bots are named only when asked for; a bot always sees itself.
    bots = {bot.bot_id for bot in call.state.bots()} - {call.bot.bot_id}
    hidden = set() if call.arguments.flag("return_bots") else bots
    return [
        call.answers.member(chat, user_id)
        for user_id, member in call.state.members(chat.chat_id).items()
        if member.status in ("administrator", "creator") and user_id not in hidden
    ]


def get_chat_member_count(call: Call) -> int:
    chat = call.find_chat()
    present = [m for m in call.state.members(chat.chat_id).values() if m.status not in ("left", "kicked")]
    return len(present) + 1


# -- pins --------------------------------------------------------------------------------------------


def pin_chat_message(call: Call) -> bool:
    chat = call.find_chat()
    post = call.find_post(chat, "message to pin not found")
    _check_may_pin(call, chat)
    if post.content["kind"] == "pinned":
        raise failure("message can't be pinned")
    is_new = not call.state.is_pinned(post)
    call.state.pin(post)
    if is_new:
        # The note "pinned a message" is a message too, and takes a number.
        call.state.add_post(chat, call.bot.bot_id, {"kind": "pinned", "post": post.post_id})
    return True


def unpin_chat_message(call: Call) -> bool:
    chat = call.find_chat()
    _check_may_pin(call, chat)
    post: Post | None
    if call.arguments.integer("message_id"):
        post = call.find_post(chat, "message to unpin not found")
    else:
        post = call.state.pinned(chat, call.bot.bot_id)
        if post is None:
            raise failure("message to unpin not found")
    call.state.unpin(chat, post)
    return True


def unpin_all_chat_messages(call: Call) -> bool:
    chat = call.find_chat()
    _check_may_pin(call, chat)
    call.state.unpin(chat, None)
    return True


def _check_may_pin(call: Call, chat: Chat) -> None:
    right = "can_edit_messages" if chat.type == "channel" else "can_pin_messages"
    if chat.type != "private" and not call.may(chat, right):
        raise failure("not enough rights to manage pinned messages in the chat")


def check_logged_in(call: Call) -> None:
    if call.state.is_logged_out(call.bot.bot_id):
        raise ApiError(400, "Logged out")
