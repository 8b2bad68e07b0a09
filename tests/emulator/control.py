# SPDX-License-Identifier: MIT
"""``/_control``: everything a test changes in-process, over HTTP, as JSON."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.emulator.wire import ApiError, Arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.server import Emulator
    from tests.emulator.values import Bot


async def run(emulator: Emulator, verb: str, what: str, arguments: Arguments) -> Any:
    """Carry out a control request; a mistake is a 400 that says what is wrong."""
    handler = _HANDLERS.get((verb, what))
    if handler is None:
        known = ", ".join(sorted(f"{v} /_control/{w}" for v, w in _HANDLERS))
        raise ApiError(404, f"Not Found: there are {known}")
    values = _values(arguments)
    try:
        result = handler(emulator, **values)
        return await result if inspect.isawaitable(result) else result
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise ApiError(400, f"Bad Request: {error}") from error


def _values(arguments: Arguments) -> dict[str, Any]:
    """Texts become numbers, booleans and null where they look like it: query strings have no types."""
    import json

    out: dict[str, Any] = {}
    for name, text in arguments.texts.items():
        try:
            out[name] = json.loads(text)
        except ValueError:
            out[name] = text
    return out


def _overview(emulator: Emulator) -> dict[str, Any]:
    state = emulator.state
    return {
        "base_url": emulator.base_url,
        "base_file_url": emulator.base_file_url,
        "local": emulator.local,
        "now_s": emulator.clock.now_s(),
        "bots": [_bot(bot) for bot in state.bots()],
        "chats": [
            asdict(chat) | {"members": {b: m.status for b, m in state.members(chat.chat_id).items()}}
            for chat in state.chats()
        ],
        "knobs": emulator.knobs.as_json(),
        "faults": _faults(emulator),
        "peaks": dict(emulator.peaks),
    }


def _bot(bot: Bot) -> dict[str, Any]:
    return {"bot_id": bot.bot_id, "name": bot.name, "username": bot.username}


def _set_knobs(emulator: Emulator, **values: Any) -> dict[str, Any]:
    emulator.knobs.change(**values)
    return emulator.knobs.as_json()


def _faults(emulator: Emulator) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in emulator.faults.active]


def _add_fault(emulator: Emulator, kind: str, **values: Any) -> list[dict[str, Any]]:
    emulator.faults.add(kind, **values)
    return _faults(emulator)


def _clear_faults(emulator: Emulator) -> list[dict[str, Any]]:
    emulator.faults.clear()
    return []


def _calls(emulator: Emulator, method: str = "*", since: int = 0) -> list[dict[str, Any]]:
    return [asdict(record) for record in emulator.calls(method) if record.number > since]


def _messages(emulator: Emulator, chat_id: int, bot_id: int = 0) -> list[dict[str, Any]]:
    chat = emulator.state.chat(chat_id)
    if chat is None:
        raise ValueError("chat not found")
    out = []
    for post in emulator.state.posts(chat, bot_id):
        shown = asdict(post)
        file = emulator.state.file(post.content.get("file", 0))
        if file is not None:
            shown["file"] = {"name": file.name, "size_bytes": file.size_bytes, "path": str(file.path)}
        out.append(shown)
    return out


def _add_bot(emulator: Emulator, name: str = "", token: str | None = None) -> dict[str, Any]:
    bot = emulator.state.add_bot(name, token=token)
    return _bot(bot) | {"token": bot.token}


def _add_chat(emulator: Emulator, **values: Any) -> dict[str, Any]:
    return asdict(emulator.state.add_chat(**values))


def _change_chat(emulator: Emulator, chat_id: int, **values: Any) -> dict[str, Any]:
    emulator.state.set_chat(chat_id, **values)
    chat = emulator.state.chat(chat_id)
    if chat is None:
        raise ValueError("chat not found")
    return asdict(chat)


def _set_member(
    emulator: Emulator, chat_id: int, bot_id: int, status: str = "administrator", **rights: bool
) -> dict[str, Any]:
    emulator.state.set_member(chat_id, bot_id, status, **rights)
    member = emulator.state.member(chat_id, bot_id)
    assert member is not None
    return {"status": member.status, "rights": member.rights}


def _renew_token(emulator: Emulator, bot_id: int, token: str | None = None) -> dict[str, Any]:
    bot = emulator.state.renew_token(bot_id, token)
    return _bot(bot) | {"token": bot.token}


def _migrate(emulator: Emulator, chat_id: int) -> dict[str, Any]:
    return asdict(emulator.state.migrate_chat(chat_id))


def _down(emulator: Emulator, seconds: float) -> dict[str, Any]:
    """Go down after this answer, and come back after so many seconds."""
    from twisted.internet.defer import Deferred

    def fall() -> None:
        Deferred.fromCoroutine(emulator.go_down())
        emulator.clock.callLater(seconds, lambda: Deferred.fromCoroutine(emulator.come_back()))

    emulator.reactor.callLater(0.1, fall)
    return {"down_for_s": seconds}


def _done(action: Callable[..., None]) -> Callable[..., bool]:
    def run_it(emulator: Emulator, **values: Any) -> bool:
        action(emulator, **values)
        return True

    return run_it


_HANDLERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", ""): _overview,
    ("GET", "knobs"): lambda emulator: emulator.knobs.as_json(),
    ("POST", "knobs"): _set_knobs,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "calls"): _calls,
    ("DELETE", "calls"): _done(lambda emulator: emulator.records.clear()),
    ("GET", "messages"): _messages,
    ("POST", "bots"): _add_bot,
    ("POST", "chats"): _add_chat,
    ("POST", "chat"): _change_chat,
    ("POST", "members"): _set_member,
    ("POST", "revoke_token"): _done(lambda emulator, bot_id: emulator.state.revoke_token(bot_id)),
    ("POST", "renew_token"): _renew_token,
    ("POST", "migrate_chat"): _migrate,
    ("POST", "expire_paths"): _done(lambda emulator: emulator.state.expire_paths()),
    ("POST", "log_in"): _done(
        lambda emulator, bot_id: emulator.state.set_logged_out(bot_id, logged_out=False)
    ),
    ("POST", "down"): _down,
    ("POST", "skip"): _done(lambda emulator, seconds: emulator.clock.skip(seconds)),
}
