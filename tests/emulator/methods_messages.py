# SPDX-License-Identifier: MIT
"""Messages: send, forward, copy, edit, delete."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from tests.emulator.entities import parse_text
from tests.emulator.faults import MIB
from tests.emulator.file_ids import KINDS
from tests.emulator.methods_files import take_media
from tests.emulator.wire import ApiError, failure

if TYPE_CHECKING:
    from tests.emulator.calls import Call
    from tests.emulator.values import Chat, Post, StoredFile

# TDLib's option message_caption_length_max, and the longest text.
MAX_CAPTION = 1024
MAX_TEXT = 4096
MAX_ALBUM = 10
MAX_DELETED = 100
# TDLib's can_delete_channel_message: no bot deletes what is older, whatever its rights.
DELETABLE_S = 2 * 86400

_UNCHANGED = (
    "message is not modified: specified new message content and reply markup are exactly the same"
    " as a current content and reply markup of the message"
)


# -- sending -----------------------------------------------------------------------------------------


async def send_document(call: Call) -> dict[str, Any]:
    return await _send_media(call, "document")


async def send_photo(call: Call) -> dict[str, Any]:
    return await _send_media(call, "photo")


async def send_video(call: Call) -> dict[str, Any]:
    return await _send_media(call, "video")


async def send_audio(call: Call) -> dict[str, Any]:
    return await _send_media(call, "audio")


async def send_voice(call: Call) -> dict[str, Any]:
    return await _send_media(call, "voice")


async def send_animation(call: Call) -> dict[str, Any]:
    return await _send_media(call, "animation")


async def _send_media(call: Call, kind: str) -> dict[str, Any]:
    chat = call.find_chat()
    call.check_may_send(chat, documents=True)
    extra = _extra(call, chat)
    caption = _caption(call.arguments.texts)
    await _wait_for_upload(call)
    call.check_limits(chat)
    file = await take_media(
        call, kind, call.arguments.text_or_file(kind), thumbnail=call.arguments.text("thumbnail")
    )
    call.charge(chat)
    content = _media(kind, file, caption, spoiler=call.arguments.flag("has_spoiler"))
    return call.answers.message(chat, _post(call, chat, content, extra))


async def send_media_group(call: Call) -> list[dict[str, Any]]:
    chat = call.find_chat()
    call.check_may_send(chat, documents=True)
    items = _album(call)
    extra = _extra(call, chat) | {"album": str(secrets.randbits(54))}
    await _wait_for_upload(call)
    call.check_limits(chat, len(items))
    contents = []
    for number, item in enumerate(items, start=1):
        try:
            content = await _take_item(call, item)
        except ApiError as error:
            raise failure(
                f'failed to send message #{number} with the error message "{error.description}"'
            ) from error
        contents.append(content)
    call.charge(chat, len(contents))
    return [call.answers.message(chat, _post(call, chat, content, extra)) for content in contents]


def _album(call: Call) -> list[dict[str, Any]]:
    items = call.arguments.json("media", "can't parse media JSON object")
    if not isinstance(items, list):
        raise failure("expected an Array of InputMedia")
    if not items:
        raise failure("there are no messages to send")
    if len(items) > MAX_ALBUM:
        raise failure("too many messages to send as an album")
    if any(not isinstance(item, dict) for item in items):
        raise failure("can't parse InputMedia: expected an Object")
    kinds = {item.get("type") for item in items}
    for alone in ("document", "audio"):
        if alone in kinds and len(kinds) > 1:
            raise failure(f"{alone} can't be mixed with other media types")
    return items


async def _take_item(call: Call, item: dict[str, Any]) -> dict[str, Any]:
    """Return the content that an InputMedia stands for."""
    kind = item.get("type", "")
    if kind not in KINDS or kind == "voice":
        raise failure("can't parse InputMedia: type must be one of the known ones")
    caption = _caption(item)
    file = await take_media(call, kind, item.get("media", ""), thumbnail=item.get("thumbnail", ""))
    return _media(kind, file, caption, spoiler=bool(item.get("has_spoiler")))


def send_message(call: Call) -> dict[str, Any]:
    chat = call.find_chat()
    call.check_may_send(chat, documents=False)
    content = _text(call)
    extra = _extra(call, chat)
    call.charge(chat)
    return call.answers.message(chat, _post(call, chat, content, extra))


def _text(call: Call) -> dict[str, Any]:
    text, entities = _parsed(call.arguments.texts, "text", "entities")
    if not text.strip():
        raise failure("message text is empty")
    if len(text) > MAX_TEXT:
        raise failure("message is too long")
    return {"kind": "text", "text": text, "entities": entities} | _link_preview(call, text)


def _link_preview(call: Call, text: str) -> dict[str, Any]:
    """Return the options given, with the first link of the text where they name none."""
    options: dict[str, Any] = {}
    if call.arguments.text("link_preview_options"):
        options = call.arguments.json("link_preview_options", "can't parse link preview options")
    elif call.arguments.flag("disable_web_page_preview"):
        options = {"is_disabled": True}
    link = re.search(r"https?://\S+", text)
    if link and not options.get("is_disabled"):
        options = {"url": link[0]} | options
    return {"link_preview_options": options} if options else {}


async def _wait_for_upload(call: Call) -> None:
    """Wait as the server does: for its throttle, then until Telegram has the bytes."""
    size = call.record.file_bytes
    await call.sleep(call.limits.same_size_delay_s(call.now_s, size))
    await call.sleep(call.knobs.store_s_per_mib * size / MIB)


def _post(call: Call, chat: Chat, content: dict[str, Any], extra: dict[str, Any]) -> Post:
    return call.state.add_post(chat, call.bot.bot_id, content, **extra)


def _media(kind: str, file: StoredFile, caption: dict[str, Any], *, spoiler: bool) -> dict[str, Any]:
    content = {"kind": kind, "file": file.number, **caption}
    return content | {"spoiler": True} if spoiler else content


def _caption(values: dict[str, Any]) -> dict[str, Any]:
    caption, entities = _parsed(values, "caption", "caption_entities")
    if len(caption) > MAX_CAPTION:
        raise failure("message caption is too long")
    return {"caption": caption, "caption_entities": entities}


def _parsed(values: dict[str, Any], name: str, entities_name: str) -> tuple[str, list[Any]]:
    text, entities = parse_text(str(values.get(name, "")), str(values.get("parse_mode") or ""))
    given = values.get(entities_name)
    if not given:
        return text, entities
    try:
        return text, json.loads(given) if isinstance(given, str) else list(given)
    except ValueError as error:
        raise failure("can't parse entities: can't parse entities JSON object") from error


def _extra(call: Call, chat: Chat) -> dict[str, Any]:
    """Return what surrounds the content: reply, protection, keyboard."""
    extra: dict[str, Any] = {}
    if call.arguments.flag("protect_content"):
        extra["protected"] = True
    markup = call.arguments.text("reply_markup")
    if markup and "inline_keyboard" in markup:
        extra["reply_markup"] = json.loads(markup)
    reply_to = _reply_to(call, chat)
    if reply_to is not None:
        extra["reply_to"] = reply_to.post_id
    return extra


def _reply_to(call: Call, chat: Chat) -> Post | None:
    number, optional = call.arguments.integer("reply_to_message_id"), False
    if call.arguments.text("reply_parameters"):
        values = call.arguments.json("reply_parameters", "can't parse reply parameters JSON object")
        number = int(values.get("message_id", 0))
        optional = bool(values.get("allow_sending_without_reply"))
    if not number:
        return None
    post = call.state.post(chat, call.bot.bot_id, number)
    if post is None and not (optional or call.arguments.flag("allow_sending_without_reply")):
        raise failure("message to be replied not found")
    return post


# -- forwarding and copying --------------------------------------------------------------------------


def forward_message(call: Call) -> dict[str, Any]:
    chat, source, post = _source(call, "message to forward not found")
    if post.extra.get("protected") or source.protected:
        raise failure("message has protected content and can't be forwarded")
    if post.content["kind"] == "pinned":
        raise failure("message can't be forwarded")
    extra = {"forward": call.answers.forward_of(source, post)}
    if call.arguments.flag("protect_content"):
        extra["protected"] = True
    call.charge(chat)
    return call.answers.message(chat, _post(call, chat, post.content, extra))


def copy_message(call: Call) -> dict[str, Any]:
    chat, _, post = _source(call, "message to copy not found")
    if post.content["kind"] == "pinned":
        raise failure("message can't be copied")
    content = dict(post.content)
    if "caption" in call.arguments.texts and content["kind"] in KINDS:
        content |= _caption(call.arguments.texts)
    extra = _extra(call, chat)
    call.charge(chat)
    return {"message_id": _post(call, chat, content, extra).message_id}


def _source(call: Call, missing: str) -> tuple[Chat, Chat, Post]:
    """Return where to, where from and what."""
    chat = call.find_chat()
    source = call.find_chat("from_chat_id")
    post = call.find_post(source, missing)
    call.check_may_send(chat, documents=post.content["kind"] in KINDS)
    return chat, source, post


def forward_messages(call: Call) -> list[dict[str, Any]]:
    """Forward up to 100; what is not there is passed over. Answers numbers only, no file_ids."""
    chat, source, posts = _sources(call, "message to forward not found")
    if source.protected or any(post.extra.get("protected") for post in posts):
        raise failure("message has protected content and can't be forwarded")
    call.charge(chat, len(posts))
    return [
        {
            "message_id": _post(
                call, chat, post.content, {"forward": call.answers.forward_of(source, post)}
            ).message_id
        }
        for post in posts
    ]


def copy_messages(call: Call) -> list[dict[str, Any]]:
    chat, _, posts = _sources(call, "message to copy not found")
    call.charge(chat, len(posts))
    return [{"message_id": _post(call, chat, _copied(call, post), {}).message_id} for post in posts]


def _copied(call: Call, post: Post) -> dict[str, Any]:
    if call.arguments.flag("remove_caption"):
        return post.content | {"caption": "", "caption_entities": []}
    return post.content


def _sources(call: Call, missing: str) -> tuple[Chat, Chat, list[Post]]:
    chat = call.find_chat()
    source = call.find_chat("from_chat_id")
    call.check_may_send(chat, documents=True)
    numbers = call.arguments.json("message_ids", "message identifiers are not specified")
    found = [call.state.post(source, call.bot.bot_id, int(number)) for number in numbers]
    posts = [post for post in found if post is not None and post.content["kind"] != "pinned"]
    if not posts:
        raise failure(missing)
    return chat, source, posts


# -- editing -----------------------------------------------------------------------------------------


async def edit_message_media(call: Call) -> dict[str, Any]:
    chat, post = _editable(call)
    media = call.arguments.json("media", "can't parse input media JSON object")
    if not isinstance(media, dict):
        raise failure("can't parse input media JSON object")
    if post.content["kind"] not in KINDS:
        raise failure("there is no media in the message to edit")
    await _wait_for_upload(call)
    call.check_limits(chat)
    return _edit(call, chat, post, await _take_item(call, media))


def edit_message_caption(call: Call) -> dict[str, Any]:
    chat, post = _editable(call)
    if post.content["kind"] not in KINDS:
        raise failure("there is no caption in the message to edit")
    return _edit(call, chat, post, post.content | _caption(call.arguments.texts))


def edit_message_text(call: Call) -> dict[str, Any]:
    chat, post = _editable(call)
    if post.content["kind"] != "text":
        raise failure("there is no text in the message to edit")
    return _edit(call, chat, post, _text(call))


def _editable(call: Call) -> tuple[Chat, Post]:
    chat = call.find_chat()
    post = call.find_post(chat, "message to edit not found")
    is_own = post.bot_id == call.bot.bot_id
    allowed = is_own
    if chat.type == "channel":
        allowed = call.may(chat, "can_edit_messages") or (is_own and call.may(chat, "can_post_messages"))
    # Own messages may be edited without limit of time, forwarded ones never.
    if not allowed or "forward" in post.extra or post.content["kind"] == "pinned":
        raise failure("message can't be edited")
    return chat, post


def _edit(call: Call, chat: Chat, post: Post, content: dict[str, Any]) -> dict[str, Any]:
    markup = call.arguments.text("reply_markup")
    new_markup = json.loads(markup) if markup else post.extra.get("reply_markup")
    if content == post.content and new_markup == post.extra.get("reply_markup"):
        raise failure(_UNCHANGED)
    call.charge(chat)
    extra = {"reply_markup": new_markup} if new_markup else {}
    call.state.edit_post(post, content, **extra)
    edited = call.state.post(chat, call.bot.bot_id, post.message_id)
    assert edited is not None
    return call.answers.message(chat, edited)


# -- deleting ----------------------------------------------------------------------------------------


def delete_message(call: Call) -> bool:
    if not call.arguments.text("chat_id"):
        raise failure("chat identifier is not specified")
    chat = call.find_chat()
    post = call.find_post(chat, "message to delete not found")
    _check_deletable(call, chat, post)
    call.state.delete_post(post)
    return True


def delete_messages(call: Call) -> bool:
    """Delete up to 100; unknown numbers are passed over, one that may not be deleted stops them all."""
    if not call.arguments.text("chat_id"):
        raise failure("chat identifier is not specified")
    chat = call.find_chat()
    numbers = call.arguments.json("message_ids", "message identifiers are not specified")
    if not isinstance(numbers, list) or not numbers:
        raise failure("message identifiers are not specified")
    if len(numbers) > MAX_DELETED:
        raise failure("too many message identifiers specified")
    found = [call.state.post(chat, call.bot.bot_id, int(number)) for number in numbers]
    posts = [post for post in found if post is not None]
    for post in posts:
        _check_deletable(call, chat, post)
    for post in posts:
        call.state.delete_post(post)
    return True


def _check_deletable(call: Call, chat: Chat, post: Post) -> None:
    refusal = "message can't be deleted" + ("" if chat.is_shared else " for everyone")
    # `>=` and the second counted from the message's date are TDLib's.
    if call.now_s >= post.date + DELETABLE_S:
        raise failure(refusal)
    if call.may(chat, "can_delete_messages"):
        return
    is_own = post.bot_id == call.bot.bot_id
    if not is_own or (chat.type == "channel" and not call.may(chat, "can_post_messages")):
        raise failure(refusal)
