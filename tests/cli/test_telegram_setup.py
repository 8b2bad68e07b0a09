# SPDX-License-Identifier: MIT
"""``telegram setup`` and ``doctor`` over the emulator: asked or scripted, with all that can be wrong."""

from __future__ import annotations

import contextlib
import json
import signal

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.canary import CANARY, search
from tests.fakes.scripted_asker import ScriptedAsker
from tests.stores.telegram.support import end_world, make_world
from tgsyncd.cli.runner import Interrupted
from tgsyncd.config.load import load_config


def wait_for(coroutine):
    return pytest_twisted.blockon(Deferred.fromCoroutine(coroutine))


async def run(tgsyncd, *arguments):
    """Run a command line in a thread, since it blocks; its work is done by the reactor of the tests."""
    return await deferToThread(tgsyncd, *arguments)


@pytest.fixture
def world(tmp_path):
    """A Telegram with two bots, two storage chats and a scratch chat."""
    world = wait_for(make_world(tmp_path, simulated=False, chats=2))
    yield world
    wait_for(end_world(world))


@pytest.fixture
def tgsyncd(tgsyncd, world):
    """Command lines that wait for the reactor, on that Telegram."""
    from twisted.internet import reactor

    def run_by_reactor(main, _shell):
        return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(main(reactor)))

    tgsyncd.run = run_by_reactor
    tgsyncd.environ["TGSYNCD_TELEGRAM_BASE_URL"] = world.emulator.base_url
    tgsyncd.folder = tgsyncd.folder / "home"
    tgsyncd.folder.mkdir()
    return tgsyncd


@pytest.fixture(autouse=True)
def _no_token_anywhere(tgsyncd, world):
    """Whatever happened: no output and no file but the token files holds a token."""
    yield
    assert CANARY not in tgsyncd.out + tgsyncd.err
    assert list(search([tgsyncd.folder])) == []


def configuration(tgsyncd):
    return tgsyncd.folder / ".config/tgsyncd/tgsyncd.yaml"


def written(tgsyncd):
    """Return the files that there are, by name."""
    return {path.name for path in tgsyncd.folder.rglob("*") if path.is_file()}


def load(tgsyncd, path=None):
    """Return the Telegram section in effect, with the tokens."""
    loaded = load_config(
        path or configuration(tgsyncd), environ={}, flags={}, home=tgsyncd.folder, folder=tgsyncd.folder
    )
    assert loaded.config.store.kind == "telegram"
    telegram = loaded.config.telegram
    return telegram, [bot.token.get_secret_value() for bot in telegram.bots]


def token_file(tgsyncd, bot, name="given.token"):
    path = tgsyncd.folder / name
    path.write_text(f"{bot.token}\n")
    path.chmod(0o600)
    return str(path)


def link(room):
    return f"https://t.me/c/{-1_000_000_000_000 - room.chat_id}/1"


# --- scripted ----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_everything_by_options(tgsyncd, world):
    """Nothing is asked; tokens are put into files of mode 0600, and what was written loads."""
    tgsyncd.environ["TGSYNCD_BOT_TOKEN"] = " ".join(bot.token for bot in world.bots)
    tgsyncd.environ["TGSYNCD_CHAT_ID"] = f"{world.chats[0].chat_id} {link(world.chats[1])}"
    scratch = str(world.scratch.chat_id)
    import os

    with _variables(tgsyncd, os.environ):
        assert await run(tgsyncd, "telegram", "setup", "--scratch-chat", scratch) == 0, tgsyncd.err

    telegram, tokens = load(tgsyncd)
    assert tokens == [bot.token for bot in world.bots]
    assert telegram.chats == tuple(chat.chat_id for chat in world.chats)
    assert telegram.scratch_chat == world.scratch.chat_id
    assert telegram.base_url == world.emulator.base_url
    assert telegram.base_file_url == world.emulator.base_file_url
    for bot in world.bots:
        assert (configuration(tgsyncd).parent / f"bot-{bot.bot_id}.token").stat().st_mode & 0o777 == 0o600
    assert "next:    tgsyncd doctor\n" in tgsyncd.out
    assert "PROBLEM" not in tgsyncd.err


@contextlib.contextmanager
def _variables(tgsyncd, environ):
    """click reads the real environment."""
    names = [name for name in tgsyncd.environ if name.startswith("TGSYNCD_")]
    environ.update({name: tgsyncd.environ[name] for name in names})
    try:
        yield
    finally:
        for name in names:
            environ.pop(name, None)


async def setup(tgsyncd, world, *arguments):
    return await run(tgsyncd, "telegram", "setup", "--base-url", world.emulator.base_url, *arguments)


@pytest_twisted.ensureDeferred
async def test_a_token_file_is_used_where_it_is(tgsyncd, world):
    """It is named, not copied."""
    path = token_file(tgsyncd, world.bots[0])
    code = await setup(
        tgsyncd,
        world,
        *("-c", "sub/my.yaml", "--token-file", "given.token", "--chat-id", link(world.chats[0])),
    )
    assert code == 0, tgsyncd.err
    telegram, tokens = load(tgsyncd, tgsyncd.folder / "sub/my.yaml")
    assert str(telegram.bots[0].token_file) == path
    assert tokens == [world.bots[0].token]
    assert written(tgsyncd) == {"given.token", "my.yaml"}
    assert f"tgsyncd doctor --config '{tgsyncd.folder}/sub/my.yaml'" in tgsyncd.out


@pytest_twisted.ensureDeferred
async def test_a_token_on_the_command_line_works_and_warns(tgsyncd, world):
    """As for every other verb."""
    chat = str(world.chats[0].chat_id)
    assert await setup(tgsyncd, world, "--bot-token", world.bots[0].token, "--chat-id", chat) == 0
    assert "every user of this machine can see a token" in tgsyncd.err
    assert load(tgsyncd)[1] == [world.bots[0].token]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--token-file"),
        (["--token-file", "given.token"], "--chat-id"),
        (["--token-file", "none.token", "--chat-id", "-1001"], "none.token"),
        (["--token-file", "open.token", "--chat-id", "-1001"], "chmod 600"),
        (["--token-file", "given.token", "--token-file", "given.token", "--chat-id", "-1001"], "twice"),
        (["--bot-token", "nonsense", "--chat-id", "-1001"], "not a bot token"),
        (["--token-file", "given.token", "--chat-id", "-1001", "--scratch-chat", "-1001"], "scratch"),
        (["--token-file", "given.token", "--chat-id", "-1001", "--base-url", "ftp://x"], "http://"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_missing_or_wrong_is_said_when_nobody_can_be_asked(tgsyncd, world, arguments, word):
    """Exit code 2, and nothing is written."""
    token_file(tgsyncd, world.bots[0])
    (tgsyncd.folder / "open.token").write_text("123456789:AAotherscanreadotherscanread")
    assert await setup(tgsyncd, world, *arguments) == 2
    assert word in tgsyncd.err
    assert "nonsense" not in tgsyncd.err
    assert written(tgsyncd) == {"given.token", "open.token"}


@pytest_twisted.ensureDeferred
async def test_a_wrong_chat_is_a_wrong_command_line(tgsyncd, world, capsys):
    """click says which option."""
    assert await setup(tgsyncd, world, "--chat-id", "@public") == 2
    assert "private channel" in capsys.readouterr().err


@pytest_twisted.ensureDeferred
async def test_problems_keep_it_from_writing(tgsyncd, world):
    """Exit code 10 with the remedy; --save-anyway writes all the same."""
    world.emulator.state.set_member(world.chats[0].chat_id, world.bots[0], can_delete_messages=False)
    path, chat = token_file(tgsyncd, world.bots[0]), str(world.chats[0].chat_id)
    assert await setup(tgsyncd, world, "--token-file", path, "--chat-id", chat) == 10
    assert "lacks rights" in tgsyncd.err
    assert "Nothing was written" in tgsyncd.err
    assert written(tgsyncd) == {"given.token"}

    assert await setup(tgsyncd, world, "--token-file", path, "--chat-id", chat, "--save-anyway") == 0
    assert load(tgsyncd)[0].chats == (world.chats[0].chat_id,)


@pytest_twisted.ensureDeferred
async def test_a_configuration_that_is_there_is_not_touched_unasked(tgsyncd, world):
    """Exit code 4; with --replace its other sections stay."""
    path = configuration(tgsyncd)
    path.parent.mkdir(parents=True)
    before = "# mine\nstore:\n  kind: directory\nverify: sample # quick\n"
    path.write_text(before)
    arguments = ["--token-file", token_file(tgsyncd, world.bots[0]), "--chat-id", link(world.chats[0])]
    assert await setup(tgsyncd, world, *arguments) == 4
    assert "--replace" in tgsyncd.err
    assert path.read_text() == before

    assert await setup(tgsyncd, world, *arguments, "--replace") == 0, tgsyncd.err
    assert path.read_text().startswith("# mine\nstore:\n  kind: telegram\nverify: sample # quick\n")
    assert load(tgsyncd)[0].chats == (world.chats[0].chat_id,)


@pytest_twisted.ensureDeferred
async def test_another_token_of_the_same_bot_is_not_overwritten_unasked(tgsyncd, world):
    """It may be the one that works."""
    place = configuration(tgsyncd).parent / f"bot-{world.bots[0].bot_id}.token"
    place.parent.mkdir(parents=True)
    place.write_text("another\n")
    arguments = ["--bot-token", world.bots[0].token, "--chat-id", link(world.chats[0])]
    assert await setup(tgsyncd, world, *arguments) == 4
    assert place.read_text() == "another\n"
    assert await setup(tgsyncd, world, *arguments, "--replace") == 0
    assert place.stat().st_mode & 0o777 == 0o600
    assert load(tgsyncd)[1] == [world.bots[0].token]


@pytest.mark.parametrize(
    "text", ["nonsense: 1\n", "{store: {kind: directory}, verify: none}\n", "a: [\n", "\xff"]
)
@pytest_twisted.ensureDeferred
async def test_a_configuration_with_mistakes_is_named_before_anything_is_asked(tgsyncd, world, text):
    """Answers would be lost otherwise."""
    path = configuration(tgsyncd)
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    tgsyncd.asker = ScriptedAsker()
    assert await setup(tgsyncd, world) == 2
    assert path.read_bytes() == text.encode("latin-1")
    assert tgsyncd.asker.asked == []


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_written_is_a_sentence(tgsyncd, world):
    """Exit code 2."""
    (tgsyncd.folder / "file").write_text("")
    path = token_file(tgsyncd, world.bots[0])
    code = await setup(
        tgsyncd, world, "-c", "file/x.yaml", "--token-file", path, "--chat-id", link(world.chats[0])
    )
    assert code == 2
    assert "Traceback" not in tgsyncd.err


# --- asked -------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_newcomer_is_led_through(tgsyncd, world):
    """Two bots, two chats and a scratch chat; every mistake is named and asked again."""
    one, two = world.bots
    tgsyncd.asker = ScriptedAsker(
        [
            *("", "nonsense", f"{one.bot_id}:AAwrongwrongwrongwrongwrongwrong123", one.token),
            *(True, one.token, two.token, False),
            *("what?", "@public", "-1009999999999", link(world.chats[0])),
            *(True, link(world.chats[0]), str(world.chats[1].chat_id), False),
            *(True, link(world.chats[1]), link(world.scratch)),
        ]
    )
    assert await setup(tgsyncd, world) == 0, tgsyncd.err
    assert tgsyncd.asker.answers == []
    telegram, tokens = load(tgsyncd)
    assert tokens == [one.token, two.token]
    assert telegram.chats == tuple(chat.chat_id for chat in world.chats)
    assert telegram.scratch_chat == world.scratch.chat_id
    for word in ("@BotFather", "/newbot", "Private", "Post", "Copy Link", "there already", "cannot see chat"):
        assert word in tgsyncd.err
    assert {kind for kind, question in tgsyncd.asker.asked if "Token" in question} == {"secret"}
    for room in [*world.chats, world.scratch]:
        assert world.emulator.state.posts(room) == []


@pytest_twisted.ensureDeferred
async def test_it_checks_again_until_it_is_right(tgsyncd, world):
    """The bot is added, the right given, in Telegram; Enter is pressed here."""
    bot, chat = world.bots[0], world.chats[0]
    state = world.emulator.state
    state.set_member(chat.chat_id, bot, "kicked")
    no_delete = {"can_delete_messages": False}

    def add():
        state.set_member(chat.chat_id, bot, "administrator", **no_delete)
        return ""

    def allow():
        state.set_member(chat.chat_id, bot, "administrator", can_delete_messages=True)
        return ""

    tgsyncd.asker = ScriptedAsker([bot.token, False, link(chat), add, False, False, "", allow])
    assert await setup(tgsyncd, world) == 0, tgsyncd.err
    assert "lacks rights" in tgsyncd.err
    assert load(tgsyncd)[0].scratch_chat is None


@pytest.mark.parametrize(("answer", "code", "is_written"), [("q", 10, False), ("s", 0, True)])
@pytest_twisted.ensureDeferred
async def test_giving_up_and_saving_all_the_same(tgsyncd, world, answer, code, is_written):
    """The choice when something stays wrong."""
    world.emulator.state.set_chat(world.chats[0].chat_id, auto_delete_s=86_400)
    tgsyncd.asker = ScriptedAsker(
        [world.bots[0].token, False, link(world.chats[0]), False, False, "", answer]
    )
    assert await setup(tgsyncd, world) == code
    assert configuration(tgsyncd).exists() is is_written


@pytest_twisted.ensureDeferred
async def test_only_what_is_missing_is_asked(tgsyncd, world):
    """A token is given, the chat is not."""
    path = token_file(tgsyncd, world.bots[0])
    tgsyncd.asker = ScriptedAsker([link(world.chats[0]), False])
    code = await setup(tgsyncd, world, "--token-file", path, "--scratch-chat", link(world.scratch))
    assert code == 0, tgsyncd.err
    assert load(tgsyncd)[0].scratch_chat == world.scratch.chat_id


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 4)])
@pytest_twisted.ensureDeferred
async def test_it_asks_before_it_changes_a_configuration(tgsyncd, world, answer, code):
    """First of all."""
    path = configuration(tgsyncd)
    path.parent.mkdir(parents=True)
    path.write_text("verify: none\n")
    tgsyncd.asker = ScriptedAsker([answer])
    given = ["--token-file", token_file(tgsyncd, world.bots[0]), "--chat-id", link(world.chats[0])]
    assert await setup(tgsyncd, world, *given) == code
    assert ("telegram" in path.read_text()) is answer


@pytest.mark.parametrize("number", range(5))
@pytest_twisted.ensureDeferred
async def test_a_signal_at_any_question_leaves_everything_as_it_was(tgsyncd, world, number):
    """Exit code 130; not even a folder is made."""
    world.emulator.state.set_chat(world.chats[0].chat_id, auto_delete_s=86_400)
    answers = [world.bots[0].token, False, link(world.chats[0]), False, False]
    tgsyncd.asker = ScriptedAsker([*answers[:number], Interrupted(signal.SIGINT)])
    assert await setup(tgsyncd, world) == 130
    assert list(tgsyncd.folder.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_answer_is_asked_again(tgsyncd, world):
    """With the same token: it need not be pasted twice."""
    await world.emulator.go_down()

    tgsyncd.asker = ScriptedAsker([world.bots[0].token, "", Interrupted(signal.SIGTERM)])
    assert await setup(tgsyncd, world) == 143
    assert "could not be asked" in tgsyncd.err
    questions = [question for _, question in tgsyncd.asker.asked]
    assert questions[1:] == ["Token (Enter: check the same one again)"] * 2


# --- doctor ------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tgsyncd, world):
    """A configuration that is in order; ``doctor`` with it, and what it found about Telegram."""
    path = token_file(tgsyncd, world.bots[0])
    chats = [part for chat in world.chats for part in ("--chat-id", str(chat.chat_id))]
    arguments = ["-c", "t.yaml", "--token-file", path, *chats, "--scratch-chat", str(world.scratch.chat_id)]
    assert wait_for(setup(tgsyncd, world, *arguments)) == 0, tgsyncd.err
    del tgsyncd.environ["TGSYNCD_TELEGRAM_BASE_URL"]
    text = (tgsyncd.folder / "t.yaml").read_text()
    own = f"server:\n  listen: 127.0.0.1\n  port: 0\ndata_dir: {tgsyncd.folder}/data\n"
    (tgsyncd.folder / "t.yaml").write_text(f"{text}{own}")

    async def doctor():
        code = await run(tgsyncd, "doctor", "-c", "t.yaml", "--json")
        found = json.loads(tgsyncd.out)
        # Nobody answers at the fake LAN address, which has nothing to do with Telegram.
        assert code == 10
        return [each for each in found if not each["subject"].startswith("http://192.168")]

    return doctor


def levels(found, *words):
    return [
        each["level"]
        for each in found
        if all(word in f"{each['subject']} {each['message']} {each['remedy']}" for word in words)
    ]


@pytest_twisted.ensureDeferred
async def test_doctor_of_a_good_set_up(tgsyncd, world, configured):
    """Server, token, kind, rights and round trip of each bot in each chat; nothing stays behind."""
    found = await configured()
    # pytest's folders are closed to other users, such as Jellyfin's.
    assert {each["level"] for each in found if each["subject"] != "publish.directory"} == {"ok"}, found
    assert levels(found, "Bot API server answers") == ["ok"]
    assert levels(found, "token of bot") == ["ok"]
    assert len(levels(found, "rights of bot")) == 3
    assert len(levels(found, "chat kind")) == 2
    assert len(levels(found, "round trip")) == 2
    for room in [*world.chats, world.scratch]:
        assert world.emulator.state.posts(room) == []
    assert await run(tgsyncd, "doctor", "-c", "t.yaml") == 10
    assert "ok      round trip of bot" in tgsyncd.out


@pytest.mark.parametrize(
    ("right", "name"),
    [
        ("can_post_messages", "Post Messages"),
        ("can_edit_messages", "pinning"),
        ("can_delete_messages", "Delete Messages"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_doctor_names_the_right_that_a_bot_lacks(world, configured, right, name):
    """And where to give it."""
    world.emulator.state.set_member(world.chats[1].chat_id, world.bots[0], **{right: False})
    assert levels(
        await configured(), "lacks rights", name, str(world.chats[1].chat_id), "Administrators"
    ) == ["problem"]


@pytest_twisted.ensureDeferred
async def test_doctor_names_a_revoked_token(world, configured):
    """With what to do in BotFather."""
    world.emulator.state.revoke_token(world.bots[0].bot_id)
    assert levels(await configured(), "does not accept", "@BotFather") == ["problem"]


@pytest_twisted.ensureDeferred
async def test_doctor_names_dangers_of_a_chat(world, configured):
    """Auto-delete timer, protected content."""
    world.emulator.state.set_chat(world.chats[0].chat_id, auto_delete_s=86_400, protected=True)
    found = await configured()
    assert levels(found, "Auto-Delete Messages to Off") == ["problem"]
    assert levels(found, "Restrict Saving Content off") == ["problem"]


@pytest_twisted.ensureDeferred
async def test_doctor_names_a_server_that_is_down(world, configured):
    """As its own finding."""
    await world.emulator.go_down()
    found = await configured()
    assert levels(found, "nobody answers", "telegram.base_url") == ["problem"]
    assert levels(found, "could not be asked") == ["problem"]


@pytest_twisted.ensureDeferred
async def test_doctor_does_not_take_a_flood_wait_for_a_fault(world, configured):
    """A bot at work meets it every minute."""
    world.emulator.faults.add("flood", method="sendDocument", retry_after_s=30)
    assert levels(await configured(), "could not be tried", "wait 30 s") == ["warning"]


@pytest_twisted.ensureDeferred
async def test_doctor_warns_of_documents_that_the_cloud_never_returns(tgsyncd, configured):
    """They come back through a local server only."""
    with (tgsyncd.folder / "t.yaml").open("a") as file:
        file.write("documents:\n  max_bytes: 50 MB\n")
    text = (tgsyncd.folder / "t.yaml").read_text()
    text = text.replace("  base_url:", "  local_mode: true\n  base_url:")
    (tgsyncd.folder / "t.yaml").write_text(text)
    found = await configured()
    assert levels(found, "documents.max_bytes", "never be read through api.telegram.org") == ["warning"]
    assert levels(found, "A local Bot API server is used") == ["warning"]
