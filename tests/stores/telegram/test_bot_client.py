# SPDX-License-Identifier: MIT
"""The Bot API's answers become typed errors, and the token shows nowhere."""

from __future__ import annotations

import logging
import traceback
from datetime import timedelta

import httpx
import pytest
import pytest_twisted
from telegram import error as ptb

from tests.contracts.store import make_document, read
from tests.stores.telegram.support import a_world
from tgsyncd.errors import StoreError
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.bot import BotClient, scrub, translate
from tgsyncd.stores.telegram.memory import FileMemory, Remembered
from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings, Token

TOKEN = "123456789:AAcanary-canary_canary-canary_canary"


def network(message, cause=None):
    error = ptb.NetworkError(message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ptb.RetryAfter(5), api.FloodWait),
        (ptb.RetryAfter(timedelta(seconds=5)), api.FloodWait),
        (network("Too Many Requests (429). Parsing the server response b'' failed"), api.FloodWait),
        (ptb.ChatMigrated(-100123), api.ChatMigrated),
        (ptb.InvalidToken("Not Found"), api.BotRevoked),
        (ptb.InvalidToken("Unauthorized"), api.BotRevoked),
        (ptb.BadRequest("Logged out"), api.BotRevoked),
        (ptb.Forbidden("Forbidden: bot was kicked from the channel chat"), api.ChatClosed),
        (ptb.BadRequest("Bad Request: chat not found"), api.ChatClosed),
        (ptb.BadRequest("Bad Request: not enough rights to send documents to the chat"), api.ChatClosed),
        (ptb.BadRequest("Bad Request: need administrator rights in the channel chat"), api.ChatClosed),
        (
            ptb.BadRequest("Bad Request: wrong file_id or the file is temporarily unavailable"),
            api.FileUnavailable,
        ),
        (ptb.BadRequest("Bad Request: invalid file_id"), api.FileUnavailable),
        (
            ptb.BadRequest("Bad Request: wrong remote file identifier specified: can't unserialize it"),
            api.FileUnavailable,
        ),
        (ptb.BadRequest("Bad Request: message to forward not found"), api.MessageGone),
        (ptb.BadRequest("Bad Request: message to delete not found"), api.MessageGone),
        (ptb.BadRequest("Bad Request: message to edit not found"), api.MessageGone),
        (ptb.BadRequest("Bad Request: MESSAGE_ID_INVALID"), api.MessageGone),
        (ptb.BadRequest("Bad Request: message can't be deleted"), api.RequestRefused),
        (
            ptb.BadRequest("Bad Request: message has protected content and can't be forwarded"),
            api.RequestRefused,
        ),
        (ptb.BadRequest("Bad Request: file is too big"), api.RequestRefused),
        (
            network("Request Entity Too Large (413). Parsing the server response b'' failed"),
            api.RequestRefused,
        ),
        (network("httpx.ConnectError: x", httpx.ConnectError("x")), api.Unreachable),
        (network("httpx.ReadError: x", httpx.ReadError("x")), api.Ambiguous),
        (network("Internal Server Error"), api.Ambiguous),
        (network("Bad Gateway (502). Parsing the server response b'<html>' failed"), api.Ambiguous),
        (ptb.TimedOut(), api.Ambiguous),
        (ptb.TelegramError("Invalid server response"), api.Ambiguous),
        (ptb.Conflict("Conflict"), api.Ambiguous),
    ],
)
def test_each_answer_has_its_kind(error, kind):
    """Exactly: what was not sent is not what may have been."""
    assert type(translate(error)) is kind


def test_waits_and_new_numbers_are_kept():
    """As numbers, whatever PTB makes of them."""
    assert translate(ptb.RetryAfter(10_072)).retry_after_s == 10_072
    assert translate(ptb.RetryAfter(timedelta(hours=3))).retry_after_s == 10_800
    assert translate(ptb.ChatMigrated(-100123)).new_chat_id == -100123


def test_errors_quote_no_token():
    """PTB's InvalidToken does."""
    error = translate(ptb.InvalidToken(f"The token `{TOKEN}` was rejected by the server."))
    assert TOKEN.partition(":")[2] not in str(error)
    assert "123456789" in str(error)
    assert len(scrub("x" * 10_000)) <= 500


def test_settings_print_no_token():
    """repr, str, f-strings, tracebacks of a configuration error."""
    settings = TelegramSettings(bots=(BotSettings(token=Token(TOKEN)),), chats=(-1,))
    for text in (repr(settings), str(settings), f"{settings.bots[0].token}"):
        assert "canary" not in text
        assert "123456789" in text
    assert Token(TOKEN).reveal() == TOKEN


@pytest.mark.parametrize("text", ["", ":", "123", "123:", "password", "pass:word", TOKEN.replace(":", "")])
def test_what_is_no_token_is_refused_without_being_quoted(text):
    """It may be a password that went into the wrong field."""
    with pytest.raises(ValueError, match="BotFather") as caught:
        _ = Token(text).bot_id
    for word in ("password", "word", "canary"):
        assert word not in str(caught.value) + repr(Token(text))


@pytest_twisted.ensureDeferred
async def test_no_fault_brings_the_token_out(tmp_path, caplog):
    """Through every fault, with DEBUG logs of PTB, httpx and ours kept: our errors and lines are clean."""
    caplog.set_level(logging.DEBUG, logger="tgsyncd")
    texts = []
    async with a_world(tmp_path, bots=1, patience_s=2.0, upload_attempts=2) as world:
        token = world.bots[0].token
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        for fault in (
            {"kind": "error", "code": 401},
            {"kind": "error", "code": 404},
            {"kind": "error", "code": 400},
            {"kind": "html", "code": 502},
            {"kind": "drop"},
            {"kind": "reset_download"},
        ):
            world.emulator.faults.clear()
            world.emulator.faults.add(**fault, times=None)
            world.emulator.state.expire_paths()
            for attempt in (read(store, ref), store.put(path, label), store.exists(ref)):
                try:
                    await attempt
                except StoreError as error:
                    texts.append("".join(traceback.format_exception(error)))
                    texts.append(repr(error))
        client = BotClient(world.settings.bots[0], world.settings, world.clock)
        texts += [repr(client), str(client), repr(world.settings), repr(store)]
        await client.close()
    assert len(texts) > 10
    secret = token.partition(":")[2]
    assert secret not in "".join(texts)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tgsyncd")]
    assert secret not in "".join(ours)


@pytest_twisted.ensureDeferred
async def test_what_was_learned_is_kept_in_a_file(tmp_path):
    """Atomically; a torn or missing file is an empty memory."""
    path = tmp_path / "telegram.json"
    memory = FileMemory(path)
    assert memory.load() == Remembered()
    await memory.save(Remembered(highest={-1001: 17}))
    assert FileMemory(path).load() == Remembered(highest={-1001: 17})
    assert [file.name for file in tmp_path.iterdir()] == ["telegram.json"]
    path.write_text(path.read_text()[:20])
    assert memory.load() == Remembered()
    await FileMemory(tmp_path / "no" / "such" / "folder.json").save(Remembered())


@pytest_twisted.ensureDeferred
async def test_the_state_file_holds_no_token(tmp_path):
    """Only bot ids, chat ids and times."""
    async with a_world(tmp_path) as world:
        world.memory = FileMemory(tmp_path / "telegram.json")
        store = world.store()
        path, label, _ = make_document(tmp_path)
        await store.put(path, label)
        await store.close()
        world.stores.clear()
        text = (tmp_path / "telegram.json").read_text()
        assert str(world.bots[0].bot_id) in text
        for bot in world.bots:
            assert bot.token.partition(":")[2] not in text
