# SPDX-License-Identifier: MIT
"""
One bot, through python-telegram-bot: the only module that imports it.

Everything it raises is one of ``api``'s errors, without the token and without PTB's exception behind it:
PTB's InvalidToken quotes the token, and so does ``repr(Bot)``.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import telegram
import telegram.warnings
from telegram import error as ptb
from telegram.request import HTTPXRequest
from twisted.internet.defer import CancelledError

from tgsyncd.bridge import from_asyncio
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.pacing import pacing_hook
from tgsyncd.stores.telegram.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings
    from tgsyncd.stores.throttle import Throttle

T = TypeVar("T")

DELETE_MAX_MESSAGES = 100
"""deleteMessages refuses more."""

# Each 429 would warn that its number will be a timedelta some day; both are understood here.
warnings.filterwarnings("ignore", message=".*retry_after", category=telegram.warnings.PTBDeprecationWarning)

UNSPECIFIED_WAIT_S = 60.0
"""A 429 without a number: the Bot API server's own throttles always say 60."""


class BotClient:
    """The Bot API calls of one bot. Retries nothing."""

    def __init__(
        self,
        bot: BotSettings,
        settings: TelegramSettings,
        timer: IReactorTime,
        throttle: Throttle | None = None,
    ) -> None:
        self._throttle = throttle
        self.bot_id = bot.bot_id
        self._settings = settings
        self._timer = timer
        self.calls_under_way = 0
        self.reach = Reach()
        request = HTTPXRequest(
            # Every call that may be under way at once: waiting for a connection is not an error.
            connection_pool_size=settings.uploads_per_bot + settings.get_files_per_bot + 16,
            read_timeout=settings.read_timeout_s,
            write_timeout=settings.write_timeout_s,
            media_write_timeout=settings.write_timeout_s,
            connect_timeout=settings.connect_timeout_s,
            pool_timeout=settings.upload_read_timeout_s,
            httpx_kwargs={"event_hooks": {"request": [pacing_hook(throttle)] if throttle else []}},
        )
        self._request = request
        self._bot: telegram.Bot = telegram.Bot(
            bot.token.reveal(),
            base_url=settings.base_url,
            base_file_url=settings.base_file_url,
            request=request,
            get_updates_request=request,  # never used: we poll nothing
            local_mode=settings.local_mode,
        )

    def __repr__(self) -> str:
        return f"<BotClient {self.bot_id}>"

    async def send_document(self, chat_id: int, path: Path, filename: str, caption: str) -> api.StoredMessage:
        """Send a file as a document, streamed in 64 KiB pieces."""
        limit_s = self._settings.upload_limit_s
        if self._throttle is not None:
            limit_s += self._throttle.takes_s(path.stat().st_size)
        with path.open("rb") as file:  # a fresh one each time: PTB leaves it at its end
            try:
                message = await self._call(
                    self._bot.send_document(
                        chat_id,
                        telegram.InputFile(file, filename=filename, read_file_handle=False),
                        caption=caption,
                        disable_content_type_detection=True,  # else .mp4 becomes a video message
                        disable_notification=True,
                        read_timeout=self._settings.upload_read_timeout_s,
                    ),
                    limit_s,
                )
            except api.Ambiguous as error:
                if file.tell() < path.stat().st_size:  # the server never had the whole of it
                    raise api.Unreachable(str(error)) from None
                raise
        stored = _stored_message(message)
        if stored is None:
            raise api.RequestRefused("Telegram made something else than a document of the file")
        return stored

    async def get_file(self, file_id: str) -> api.RemoteFile:
        """Ask where a file is; the answer comes when the server has the whole of it."""
        file = await self._call(self._bot.get_file(file_id, read_timeout=self._settings.get_file_timeout_s))
        path: str | None = file.file_path
        prefix = f"{self._bot.base_file_url}/"
        if path is not None and path.startswith(prefix):
            path = path.removeprefix(prefix)
        return api.RemoteFile(file_path=path, size_bytes=file.file_size)

    def file_url(self, file_path: str) -> str:
        """Return the address of a file. It holds the token: never log it, never redirect to it."""
        return f"{self._bot.base_file_url}/{file_path}"

    async def forward(self, chat_id: int, from_chat_id: int, message_id: int) -> api.ForwardedMessage:
        """Forward a message; the copy shows this bot its own file_id."""
        message = await self._call(
            self._bot.forward_message(chat_id, from_chat_id, message_id, disable_notification=True)
        )
        return api.ForwardedMessage(
            chat_id=message.chat_id,
            message_id=message.message_id,
            document=_stored_message(message),
            text=message.text or "",
        )

    async def send_text(self, chat_id: int, text: str) -> int:
        """Send a message; return its id."""
        message = await self._call(self._bot.send_message(chat_id, text, disable_notification=True))
        return int(message.message_id)

    async def delete(self, chat_id: int, message_id: int) -> None:
        """Delete one message. Raises MessageGone, RequestRefused (older than 48 hours)."""
        await self._call(self._bot.delete_message(chat_id, message_id))

    async def delete_many(self, chat_id: int, message_ids: Sequence[int]) -> None:
        """Delete at most 100 messages; unknown ids are skipped. All or nothing when refused."""
        await self._call(self._bot.delete_messages(chat_id, message_ids))

    async def replace_document(
        self, chat_id: int, message_id: int, data: bytes, filename: str, caption: str
    ) -> api.StoredMessage | None:
        """Put a tiny document in the place of a stored one."""
        media = telegram.InputMediaDocument(
            BytesIO(data),
            filename=filename,
            caption=caption,
            disable_content_type_detection=True,
        )
        message = await self._call(
            self._bot.edit_message_media(
                media,
                chat_id=chat_id,
                message_id=message_id,
                read_timeout=self._settings.upload_read_timeout_s,
            )
        )
        return _stored_message(message)

    async def edit_caption(self, chat_id: int, message_id: int, caption: str) -> None:
        """Change a message's caption."""
        await self._call(self._bot.edit_message_caption(chat_id, message_id, caption=caption))

    async def me(self) -> api.BotFacts:
        """Ask who this bot is: whether its token is accepted."""
        user = await self._call(self._bot.get_me())
        return api.BotFacts(bot_id=user.id, username=user.username or "")

    async def get_chat(self, chat_id: int) -> api.ChatFacts:
        """Ask what kind of chat it is."""
        chat = await self._call(self._bot.get_chat(chat_id))
        pinned = chat.pinned_message
        return api.ChatFacts(
            chat_id=chat.id,
            kind=str(chat.type),
            title=chat.title or "",
            auto_delete_s=_seconds(chat.message_auto_delete_time or 0),
            is_protected=bool(chat.has_protected_content),
            pinned=_stored_message(pinned) if pinned is not None else None,
        )

    async def get_member(self, chat_id: int) -> api.MemberFacts:
        """Ask what this bot may do in the chat."""
        member = await self._call(self._bot.get_chat_member(chat_id, self.bot_id))
        is_owner = member.status == "creator"

        def may(right: str, *, default: bool = False) -> bool:
            # Rights that do not exist in this kind of chat are absent (None).
            value = getattr(member, right, None)
            return is_owner or (default if value is None else bool(value))

        is_admin = member.status == "administrator"
        return api.MemberFacts(
            status=str(member.status),
            # In a supergroup there are no can_post_messages and can_edit_messages: an admin may
            # post, and edits its own.
            can_post=may("can_post_messages", default=is_admin),
            can_edit=may("can_edit_messages", default=is_admin),
            can_delete=may("can_delete_messages"),
            # Channels know no can_pin_messages: there can_edit_messages counts.
            can_pin=may("can_pin_messages", default=may("can_edit_messages")),
        )

    async def pin(self, chat_id: int, message_id: int) -> None:
        """Pin a message silently."""
        await self._call(self._bot.pin_chat_message(chat_id, message_id, disable_notification=True))

    async def unpin(self, chat_id: int, message_id: int) -> None:
        """Unpin a message."""
        await self._call(self._bot.unpin_chat_message(chat_id, message_id))

    async def close(self) -> None:
        """Close the connections."""
        await from_asyncio(self._request.shutdown())

    async def _call(self, coroutine: Coroutine[Any, Any, T], limit_s: float | None = None) -> T:
        """Run a call, at most for so long: httpx's own timeouts are for each read, not for the whole."""
        limit_s = self._settings.call_limit_s if limit_s is None else limit_s
        running = from_asyncio(coroutine)
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            running.cancel()

        timer = self._timer.callLater(limit_s, expire)
        self.calls_under_way += 1
        try:
            with _translated_errors():
                result = await running
        except CancelledError:
            if not expired:
                raise
            self.reach.note_silence(self._timer.seconds(), f"no answer within {limit_s:g} s")
            raise api.Ambiguous(f"no answer within {limit_s:g} s") from None
        except api.Unreachable as error:
            self.reach.note_silence(self._timer.seconds(), str(error))
            raise
        except api.BotApiError:
            self.reach.note_answer(self._timer.seconds())
            raise
        else:
            self.reach.note_answer(self._timer.seconds())
            return result
        finally:
            self.calls_under_way -= 1
            if timer.active():
                timer.cancel()


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except ptb.TelegramError as error:
        # "from None": what is behind it may quote the token.
        raise translate(error) from None


_NOT_SENT: Mapping[type[BaseException], str] = {
    httpx.ConnectTimeout: "no connection to the Bot API server within the time limit",
    httpx.ConnectError: "no connection to the Bot API server",
    httpx.PoolTimeout: "too many calls to the Bot API server at once",
    httpx.UnsupportedProtocol: "telegram.base_url is no http:// or https:// address",
}

_REFUSALS: tuple[tuple[re.Pattern[str], type[api.BotApiError]], ...] = (
    (re.compile(r"temporarily unavailable|wrong file[_ ]id|invalid file_id|wrong remote file|"
                r"file reference|wrong file identifier", re.IGNORECASE), api.FileUnavailable),
    (re.compile(r"message to (\w+ )?(forward|copy|delete|edit|pin) not found|message_id_invalid|"
                r"message not found", re.IGNORECASE), api.MessageGone),
    (re.compile(r"chat not found|not a member|was kicked|not enough rights|have no rights|"
                r"need administrator rights|chat_write_forbidden|chat_admin_required|"
                r"channel_private|user_banned|group chat was deactivated|upgraded to a supergroup",
                re.IGNORECASE), api.ChatClosed),
)  # fmt: skip


def translate(error: ptb.TelegramError) -> api.BotApiError:
    """
    Return our error for one of PTB's.

    PTB takes "Bad Request: " away and capitalizes the rest (``str.capitalize`` lower-cases what follows),
    so texts are compared without regard to case.
    """
    text = scrub(error.message)
    if isinstance(error, ptb.RetryAfter):
        return api.FloodWait(_seconds(error.retry_after))
    if isinstance(error, ptb.ChatMigrated):
        return api.ChatMigrated(error.new_chat_id)
    if isinstance(error, ptb.InvalidToken) or text.lower() == "logged out":  # 401, and 404
        return api.BotRevoked(text)
    if isinstance(error, ptb.Forbidden):
        return api.ChatClosed(text)
    if isinstance(error, ptb.BadRequest):
        return _refusal(text)(text)
    return _network_error(error, text)


def _refusal(text: str) -> type[api.BotApiError]:
    for pattern, kind in _REFUSALS:
        if pattern.search(text):
            return kind
    return api.RequestRefused


def _network_error(error: ptb.TelegramError, text: str) -> api.BotApiError:
    if re.search(r"too many requests|\(429\)", text, re.IGNORECASE):
        return api.FloodWait(UNSPECIFIED_WAIT_S)
    if re.search(r"request entity too large|\(413\)", text, re.IGNORECASE):
        return api.RequestRefused("the file is too large for this Bot API server (413)")
    for kind, words in _NOT_SENT.items():
        if isinstance(error.__cause__, kind):
            return api.Unreachable(words)
    return api.Ambiguous(text)


_TOKEN = re.compile(r"(\d{6,12}):[A-Za-z0-9_-]{20,}")


def scrub(text: str) -> str:
    """Return the text without bot tokens, and not longer than a log line should be."""
    return _TOKEN.sub(r"\1:redacted", text)[:500]


def _seconds(value: float | timedelta) -> int:
    # PTB answers with int, or with timedelta when PTB_TIMEDELTA is set.
    return int(value.total_seconds() if isinstance(value, timedelta) else value)


def _stored_message(message: Any) -> api.StoredMessage | None:
    document = getattr(message, "document", None)
    if document is None:
        return None
    return api.StoredMessage(
        chat_id=message.chat_id,
        message_id=message.message_id,
        date_s=message.date.timestamp(),
        file_id=document.file_id,
        file_unique_id=document.file_unique_id,
        size_bytes=document.file_size or 0,
        caption=message.caption or "",
    )
