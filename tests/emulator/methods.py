# SPDX-License-Identifier: MIT
"""Which methods there are. Names are compared without regard to case, as the server does."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from tests.emulator import methods_chats, methods_files, methods_messages
from tests.emulator.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.calls import Call

METHODS: dict[str, Callable[[Call], Any]] = {
    "getme": methods_chats.get_me,
    "logout": methods_chats.log_out,
    "close": methods_chats.close,
    "getchat": methods_chats.get_chat,
    "getchatmember": methods_chats.get_chat_member,
    "getchatmembercount": methods_chats.get_chat_member_count,
    "getchatadministrators": methods_chats.get_chat_administrators,
    "pinchatmessage": methods_chats.pin_chat_message,
    "unpinchatmessage": methods_chats.unpin_chat_message,
    "unpinallchatmessages": methods_chats.unpin_all_chat_messages,
    "getfile": methods_files.get_file,
    "senddocument": methods_messages.send_document,
    "sendphoto": methods_messages.send_photo,
    "sendvideo": methods_messages.send_video,
    "sendaudio": methods_messages.send_audio,
    "sendvoice": methods_messages.send_voice,
    "sendanimation": methods_messages.send_animation,
    "sendmediagroup": methods_messages.send_media_group,
    "sendmessage": methods_messages.send_message,
    "forwardmessage": methods_messages.forward_message,
    "forwardmessages": methods_messages.forward_messages,
    "copymessages": methods_messages.copy_messages,
    "copymessage": methods_messages.copy_message,
    "editmessagemedia": methods_messages.edit_message_media,
    "editmessagecaption": methods_messages.edit_message_caption,
    "editmessagetext": methods_messages.edit_message_text,
    "deletemessage": methods_messages.delete_message,
    "deletemessages": methods_messages.delete_messages,
}


async def run_method(call: Call) -> Any:
    """Carry out the call and return its result; raises ApiError."""
    method = METHODS.get(call.method)
    if method is None:
        raise ApiError(404, "Not Found: method not found")
    if not call.local:
        methods_chats.check_logged_in(call)
    result = method(call)
    return await result if inspect.isawaitable(result) else result
