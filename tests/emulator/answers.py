# SPDX-License-Identifier: MIT
"""Bots, chats and messages as the Bot API's JSON, seen by one bot. Key order is the server's."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from tests.emulator.file_ids import KINDS, FileId, access_hash, render_file_id, render_unique_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.emulator.faults import Knobs
    from tests.emulator.state import State
    from tests.emulator.values import Bot, Chat, Post, StoredFile

_GIFTS = {
    "unlimited_gifts": False, "limited_gifts": False, "unique_gifts": False,
    "premium_subscription": False, "gifts_from_channels": False,
}  # fmt: skip
# Who wrote what no bot wrote.
_OWNER = {"id": 500_000_001, "is_bot": False, "first_name": "Owner"}


class Answers:
    """Renders what one bot is told."""

    def __init__(self, state: State, knobs: Knobs, bot: Bot) -> None:
        self._state = state
        self._knobs = knobs
        self._bot = bot

    def me(self) -> dict[str, Any]:
        return {
            **self.user(self._bot.bot_id),
            "can_join_groups": True, "can_read_all_group_messages": False,
            "supports_inline_queries": self._bot.inline, "supports_guest_queries": False,
            "can_connect_to_business": False, "has_main_web_app": False,
            "has_topics_enabled": False, "allows_users_to_create_topics": False,
            "can_manage_bots": False,
        }  # fmt: skip

    def user(self, bot_id: int) -> dict[str, Any]:
        if bot_id == 0:
            return _OWNER
        person = self._state.chat(bot_id)
        if person is not None and person.type == "private":
            return {"id": bot_id, "is_bot": False} | _names(person)
        bot = self._state.bot(bot_id)
        return {"id": bot_id, "is_bot": True, "first_name": bot.name, "username": bot.username}

    def chat(self, chat: Chat) -> dict[str, Any]:
        if chat.type == "private":
            return {"id": chat.chat_id} | _names(chat) | {"type": "private"}
        out: dict[str, Any] = {"id": chat.chat_id, "title": chat.title}
        if chat.username:
            out["username"] = chat.username
        out["type"] = chat.type
        if chat.type == "group":
            out |= {"all_members_are_administrators": False, "accepted_gift_types": _GIFTS}
        return out

    def full_chat(self, chat: Chat) -> dict[str, Any]:
        out = self.chat(chat)
        if chat.username:
            out["active_usernames"] = [chat.username]
        if chat.type == "channel":
            out["has_visible_history"] = True
        out["accepted_gift_types"] = _GIFTS
        pinned = self._state.pinned(chat, self._bot.bot_id)
        if pinned is not None:
            out["pinned_message"] = self.message(chat, pinned)
        if chat.auto_delete_s:
            out["message_auto_delete_time"] = chat.auto_delete_s
        out |= {"max_reaction_count": 11, "accent_color_id": 1}
        if chat.protected:
            out["has_protected_content"] = True
        return out

    def member(self, chat: Chat, bot_id: int) -> dict[str, Any]:
        member = self._state.member(chat.chat_id, bot_id)
        out: dict[str, Any] = {"user": self.user(bot_id), "status": member.status if member else "left"}
        if member is None:
            return out
        if member.status == "administrator":
            return out | _rights_of(chat, member.rights)
        if member.status == "kicked":
            out["until_date"] = 0
        if member.status == "creator":
            out["is_anonymous"] = False
        return out

    def message(self, chat: Chat, post: Post, *, depth: int = 0) -> dict[str, Any]:
        out = self._message_head(chat, post)
        out |= post.extra.get("forward", {})
        if "album" in post.extra:
            out["media_group_id"] = post.extra["album"]
        if depth == 0 and "reply_to" in post.extra:
            original = self._state.post_by_id(chat, self._bot.bot_id, post.extra["reply_to"])
            if original is not None:
                out["reply_to_message"] = self.message(chat, original, depth=1)
        out |= self._content(chat, post, depth)
        if post.extra.get("protected") or chat.protected:
            out["has_protected_content"] = True
        if "reply_markup" in post.extra:
            out["reply_markup"] = post.extra["reply_markup"]
        return out

    def _message_head(self, chat: Chat, post: Post) -> dict[str, Any]:
        out: dict[str, Any] = {"message_id": post.message_id}
        if chat.type == "channel":
            out["sender_chat"] = self.chat(chat)
        else:
            out["from"] = self.user(post.bot_id)
        out["chat"] = self.chat(chat)
        out["date"] = post.date
        if post.edit_date is not None and "forward" not in post.extra:
            out["edit_date"] = post.edit_date
        return out

    def _content(self, chat: Chat, post: Post, depth: int) -> dict[str, Any]:
        content = post.content
        if content["kind"] == "pinned":
            pinned = self._state.post_by_id(chat, self._bot.bot_id, content["post"])
            if pinned is None or depth:
                return {}
            return {"pinned_message": self.message(chat, pinned, depth=1)}
        out: dict[str, Any] = {}
        if content["kind"] in KINDS:
            file = self._state.file(content["file"])
            if file is not None:
                out |= self._media(content["kind"], file)
            if content.get("spoiler"):
                out["has_media_spoiler"] = True
        for name in ("text", "entities", "link_preview_options", "caption", "caption_entities"):
            if content.get(name):
                out[name] = content[name]
        return out

    def _media(self, kind: str, file: StoredFile) -> dict[str, Any]:
        if kind == "photo":
            small = self._state.file(file.facts.get("thumbnail", 0))
            return {"photo": [self._photo_size(size) for size in (small, file) if size is not None]}
        shown = self.document(file)
        if kind == "voice":
            shown = {"duration": file.facts["duration"], "mime_type": "audio/ogg", **self._file(file)}
        elif kind == "audio":
            shown = {"duration": file.facts["duration"], **shown}
        elif kind in ("video", "animation"):
            shown = {name: file.facts[name] for name in ("duration", "width", "height")} | shown
        # An animation comes twice: for clients that know it, and as a document for the others.
        return {kind: shown, "document": shown} if kind == "animation" else {kind: shown}

    def document(self, file: StoredFile) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if file.name:
            out["file_name"] = file.name
        if file.mime:
            out["mime_type"] = file.mime
        thumbnail = self._state.file(file.facts.get("thumbnail", 0))
        if thumbnail is not None:
            shown = self._photo_size(thumbnail)
            out |= {"thumbnail": shown, "thumb": shown}
        return out | self._file(file)

    def _photo_size(self, file: StoredFile) -> dict[str, Any]:
        return self._file(file) | {"width": file.facts["width"], "height": file.facts["height"]}

    def _file(self, file: StoredFile) -> dict[str, Any]:
        out: dict[str, Any] = {
            "file_id": self.file_id(file),
            "file_unique_id": render_unique_id(file.number, file_type=file.type),
        }
        if file.size_bytes:
            out["file_size"] = file.size_bytes
        return out

    def file_id(self, file: StoredFile) -> str:
        hashed = access_hash(self._state.key, self._bot.bot_id, file.number)
        reference = secrets.token_bytes(29) if self._knobs.file_ids_change else hashed * 3 + hashed[:5]
        return render_file_id(FileId(file_type=file.type, number=file.number, access_hash=hashed), reference)

    def file(self, file: StoredFile, path: str) -> dict[str, Any]:
        return self._file(file) | {"file_path": path}

    def forward_of(self, chat: Chat, post: Post) -> dict[str, Any]:
        """Return the keys that say where a forwarded message came from."""
        if "forward" in post.extra:
            return dict(post.extra["forward"])
        if chat.type == "channel":
            origin = {
                "type": "channel", "chat": self.chat(chat), "message_id": post.message_id,
                "date": post.date,
            }  # fmt: skip
            return {
                "forward_origin": origin, "forward_from_chat": self.chat(chat),
                "forward_from_message_id": post.message_id, "forward_date": post.date,
            }  # fmt: skip
        user = self.user(post.bot_id)
        return {
            "forward_origin": {"type": "user", "sender_user": user, "date": post.date},
            "forward_from": user, "forward_date": post.date,
        }  # fmt: skip


def _names(person: Chat) -> dict[str, str]:
    first, _, last = person.title.partition(" ")
    return {"first_name": first, "last_name": last} if last else {"first_name": first}


def _rights_of(chat: Chat, rights: Mapping[str, bool]) -> dict[str, bool]:
    absent = {"can_pin_messages"} if chat.type == "channel" else {"can_post_messages", "can_edit_messages"}
    return {name: value for name, value in rights.items() if name not in absent}
