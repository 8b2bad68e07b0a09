# SPDX-License-Identifier: MIT
"""What each verb asks of the application, prints, and returns."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from rich.console import Console

from tests.fakes.cli_shell import LAN
from tgsyncd import errors
from tgsyncd.cli.app import EXIT_CODES, VERBS, cli
from tgsyncd.cli.shell import Lines, Shell
from tgsyncd.logs import Redactor
from tgsyncd.model import Stage, Video, VideoId, Wanted

TOKEN = "123456789:AAcanarycanarycanarycanarycanary123"


def video(**changes) -> Video:
    values = {
        "video_id": VideoId("movie"),
        "original_filename": "Movie\n\x1b[31m.mkv",
        "library": "Films",
        "source_path": "/srv/Movie.mkv",
        "wanted": Wanted.PUBLISHED,
        "current_revision": 1,
        "capability_generation": 1,
        "total_duration_s": 5025.4,
        "total_segments": 838,
        "file_size_bytes": 1_234_567_890,
        "status": "active",
        "stage": Stage.PUBLISHED,
        "error": None,
        "created_at_s": 0.0,
        "updated_at_s": 86_400.0,
    }
    return Video(**{**values, **changes})


# --- upload ------------------------------------------------------------------------------------------


def test_upload_needs_a_video(tgsyncd):
    """Nothing given is a mistake, not nothing to do."""
    assert tgsyncd("upload") == 2
    assert "no video was given" in tgsyncd.err


def test_upload_of_a_folder_without_videos_says_so(tgsyncd, monkeypatch):
    """Not an error, for a folder that is filled now and then; and not silence."""

    async def find_nothing(*_, **__):
        return []

    monkeypatch.setattr(tgsyncd.application, "upload", find_nothing)
    assert tgsyncd("upload", "--video", "empty") == 0
    assert "no video was found there" in tgsyncd.err
    assert ".mkv" in tgsyncd.err
    assert tgsyncd("upload", "--json", "--video", "empty") == 0
    assert json.loads(tgsyncd.out) == []


def test_upload_shows_what_was_stored(tgsyncd):
    """Results go to standard output, progress to standard error."""
    assert tgsyncd("upload", "--video", "a.mkv", "b.mkv") == 0

    (call,) = tgsyncd.application.calls
    assert call[1] == [tgsyncd.folder / "a.mkv", tgsyncd.folder / "b.mkv"]
    assert "a.mkv: stored as a, 1.0 kB stored" in tgsyncd.out
    assert "  playlist  http://192.168.1.100:8080/playlist/a.m3u8" in tgsyncd.out
    assert "pgs subtitle is left out" in tgsyncd.out
    assert "a.mkv: store 50 %, 1.0 kB" in tgsyncd.err
    assert not tgsyncd.application.is_open


def test_upload_shows_each_outcome_as_it_ends(tgsyncd):
    """Of a night's batch the first is known in the evening: errors stand between the stages of the others."""
    tgsyncd.application.errors["a.mkv"] = errors.NotAVideo("“a.mkv” is not a video")
    tgsyncd("upload", "a.mkv", "b.mkv")
    assert tgsyncd.err.index("is not a video") < tgsyncd.err.index("b.mkv: probe")


def test_upload_goes_on_after_a_bad_file(tgsyncd):
    """The exit code is that of the first failure; the others are stored."""
    tgsyncd.application.errors["b.mkv"] = errors.NotAVideo("b.mkv is text", hint="look at it")

    assert tgsyncd("upload", "a.mkv", "b.mkv", "c.mkv") == 5
    assert "b.mkv: b.mkv is text" in tgsyncd.err
    assert "look at it" in tgsyncd.err
    assert "1 of 3 files failed" in tgsyncd.err
    assert "c.mkv: stored" in tgsyncd.out


def test_nothing_that_a_file_says_reaches_the_terminal_as_a_code(tgsyncd):
    """Names of files and of attachments in them stand in errors, hints and notes."""
    evil = "evil\x1b]0;title\x07\n.mkv"
    tgsyncd.application.errors = {
        "a.mkv": errors.SourceUnreadable(f"{evil} is empty", hint=f"look at {evil}")
    }
    assert tgsyncd("upload", "--video", "a.mkv") == 5
    assert "evil\\x1b]0;title\\x07\\x0a.mkv is empty" in tgsyncd.err
    assert "\x1b" not in tgsyncd.err


@pytest.mark.parametrize("stream", ["say", "note", "warn"])
def test_codes_are_shown_and_not_carried_out_whoever_prints(stream):
    """Lines stay lines."""
    out = io.StringIO()
    shell = SimpleNamespace(redactor=Redactor(), lines=Lines())
    console = Console(file=out, width=80)
    shell.out = shell.err = console
    shell.note = lambda text: Shell.note(shell, text)
    getattr(Shell, stream)(shell, "one\x1b[31m\ntwo")
    assert out.getvalue().removeprefix("warning: ") == "one\\x1b[31m\ntwo\n"


def test_upload_json(tgsyncd):
    """One JSON array on standard output and nothing else, errors included."""
    tgsyncd.application.errors["b.mkv"] = errors.NotAVideo("b.mkv is text", hint="look")

    assert tgsyncd("upload", "a.mkv", "b.mkv", "--json") == 5

    good, bad = json.loads(tgsyncd.out)
    assert good["video_id"] == "a"
    assert good["playlist_url"] == "http://192.168.1.100:8080/playlist/a.m3u8"
    assert bad["error"] == {"kind": "NotAVideo", "message": "b.mkv is text", "hint": "look", "exit_code": 5}
    assert tgsyncd.err == ""


def test_upload_options_reach_the_application(tgsyncd):
    """--force, --video-id and --library are handed on."""
    assert tgsyncd("upload", "a.mkv", "--force", "--video-id", "x", "--library", "Films") == 0

    options = tgsyncd.application.calls[0][2]
    assert (options.force, options.video_id, options.library) == (True, "x", "Films")


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["--host", "nas.lan"], "http://nas.lan:8080"),
        (["--host", "nas.lan:99"], "http://nas.lan:99"),
        (["--host", "10.0.0.1", "--port", "80"], "http://10.0.0.1"),
        (["--host", "[fd00::1]:81"], "http://[fd00::1]:81"),
        (["--port", "81"], "http://192.168.1.100:81"),
        (["--host", "https://tv.example.org/x/"], "https://tv.example.org/x"),
    ],
)
def test_upload_host_is_the_one_in_urls(tgsyncd, arguments, url):
    """--host names how players reach this machine."""
    assert tgsyncd("upload", "a.mkv", *arguments) == 0
    assert tgsyncd.application.config.server.public_urls == (url,)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "localhost", "127.0.0.1:8080", "::1", "169.254.1.1", "a b", "http://", "http://localhost"],
)
def test_upload_refuses_hosts_that_players_cannot_open(tgsyncd, host):
    """The message names the LAN address to use instead."""
    assert tgsyncd("upload", "a.mkv", "--host", host) == 2
    assert "192.168.1.100" in tgsyncd.err
    assert not tgsyncd.application.calls


def test_upload_without_a_network_needs_a_host(tgsyncd):
    """There is no address that could be written into a .strm."""
    tgsyncd.addresses = LAN[:1]
    assert tgsyncd("upload", "a.mkv") == 2
    assert "--host" in tgsyncd.err


def test_host_and_port_as_variables(tgsyncd):
    """A container is configured by its environment."""
    tgsyncd.environ |= {"TGSYNCD_SERVER_PUBLIC_URLS": "https://tv.example.org"}
    assert tgsyncd("upload", "a.mkv") == 0
    assert tgsyncd.application.config.server.public_urls == ("https://tv.example.org",)


# --- the token ---------------------------------------------------------------------------------------


def test_a_token_on_the_command_line_works_and_warns(tgsyncd):
    """One command without a file is possible, and says what it costs."""
    assert tgsyncd("list", "--bot-token", TOKEN, "--chat-id", "-1001") == 0

    config = tgsyncd.application.config
    assert config.store.kind == "telegram"
    assert config.telegram.bots[0].token.get_secret_value() == TOKEN
    assert config.telegram.chats == (-1001,)
    assert "every user of this machine can see a token" in tgsyncd.err
    assert TOKEN not in tgsyncd.err + tgsyncd.out


def test_a_token_in_the_environment_does_not_warn_and_is_not_inherited(tgsyncd, monkeypatch):
    """Only the same user reads a process's environment, and children do not get it."""
    monkeypatch.setenv("TGSYNCD_BOT_TOKEN", TOKEN)
    tgsyncd.environ["TGSYNCD_BOT_TOKEN"] = TOKEN

    assert tgsyncd("list", "--chat-id", "-1001") == 0
    assert "every user" not in tgsyncd.err
    assert tgsyncd.environ == {}
    assert tgsyncd.application.config.telegram.bots[0].token.get_secret_value() == TOKEN


def test_a_token_that_is_none_is_refused_without_repeating_it(tgsyncd):
    """A password pasted by mistake is not printed."""
    assert tgsyncd("list", "--bot-token", "hunter2hunter2", "--chat-id", "-1") == 2
    assert "hunter2" not in tgsyncd.err


# --- the other verbs ---------------------------------------------------------------------------------


def test_list(tgsyncd):
    """A table; a file name cannot write anything but itself."""
    tgsyncd.application.catalog.stored = [video(), video(video_id=VideoId("b"), status="error", error="x\ny")]

    assert tgsyncd("list") == 0

    head, first, second, reason = tgsyncd.out.splitlines()
    assert head.split() == ["VIDEO", "STATUS", "LENGTH", "SIZE", "SEGMENTS", "FILE"]
    assert first.split() == ["movie", "active", "1:23:45", "1.2", "GB", "838", "Movie\\x0a\\x1b[31m.mkv"]
    assert "error after published" in second
    assert reason == "b: x\\x0ay"


def test_list_tells_a_video_that_plays_from_one_that_does_not(tgsyncd):
    """A newer revision failed, or its files cannot be written: the old stream plays all the same."""
    tgsyncd.application.catalog.stored = [video(status="active", stage=Stage.PROBED, error="x")]
    assert tgsyncd("list") == 0
    assert "active, error after probed" in tgsyncd.out


def test_list_json(tgsyncd):
    """Machines get seconds, bytes and ISO times."""
    tgsyncd.application.catalog.stored = [video()]
    assert tgsyncd("list", "--json") == 0
    (one,) = json.loads(tgsyncd.out)
    assert one["original_filename"] == "Movie\n\x1b[31m.mkv"
    assert one["updated_at"] == "1970-01-02T00:00:00Z"


def test_list_of_nothing(tgsyncd):
    """Says what to do next, on standard error; JSON is an empty array."""
    assert tgsyncd("list") == 0
    assert tgsyncd.out == ""
    assert "tgsyncd upload" in tgsyncd.err
    assert tgsyncd("list", "--json") == 0
    assert json.loads(tgsyncd.out) == []


def test_delete(tgsyncd):
    """Says what was deleted, and what is still owed."""
    assert tgsyncd("delete", "--video-id", "movie") == 0
    assert "movie: deleted, with 3 documents" in tgsyncd.out
    assert "1 documents are still to be deleted" in tgsyncd.err
    assert tgsyncd("delete", "--video-id", "movie", "--json") == 0
    assert json.loads(tgsyncd.out)["files_removed"] == ["/lib/a.strm"]


def test_delete_of_nothing(tgsyncd):
    """Exit code 3, message and hint; the application is closed all the same."""
    tgsyncd.application.errors["nope"] = True
    assert tgsyncd("delete", "--video-id", "nope") == 3
    assert tgsyncd.err == "error: there is no video nope\n  tgsyncd list names them\n"
    assert not tgsyncd.application.is_open


def test_cleanup(tgsyncd):
    """--hours reaches the application."""
    assert tgsyncd("cleanup", "--hours", "0.5", "--json") == 0
    assert tgsyncd.application.calls == [("cleanup", 0.5)]
    assert json.loads(tgsyncd.out)["cache_rows_forgotten"] == 4
    assert tgsyncd("cleanup") == 0
    assert "revisions deleted: 1" in tgsyncd.out
    assert tgsyncd("cleanup", "--hours", "-1") == 2


def test_db_stats(tgsyncd):
    """Numbers for people and for machines."""
    assert tgsyncd("db-stats") == 0
    assert "stored bytes: 1.2 GB" in tgsyncd.out
    assert "videos by status: 2 active" in tgsyncd.out
    assert tgsyncd("db-stats", "--json") == 0
    assert json.loads(tgsyncd.out)["segments"] == 1200


def test_config_check(tgsyncd):
    """Nothing wrong is said in so many words, with the URL that players will be given."""
    path = tgsyncd.folder / "my.yaml"
    path.write_text("verify: none")
    assert tgsyncd("config", "check", "--config", "my.yaml") == 0
    assert tgsyncd.out.splitlines() == [f"{path}: no problems", "players are given http://192.168.1.100:8080"]
    assert tgsyncd("config", "check", "--config", "my.yaml", "--json") == 0
    assert json.loads(tgsyncd.out)["config"]["verify"] == "none"


def test_config_check_names_all_problems(tgsyncd):
    """Exit code 2 and a line each."""
    (tgsyncd.folder / "my.yaml").write_text("verify: nome\nspool: 3")
    assert tgsyncd("config", "check", "-c", "my.yaml") == 2
    assert "2 problems" in tgsyncd.err


def test_config_show_has_no_secrets(tgsyncd):
    """What is in effect, to be pasted into a report."""
    assert tgsyncd("config", "show", "--bot-token", TOKEN, "--chat-id", "-1") == 0
    assert json.loads(tgsyncd.out)["telegram"]["chats"] == [-1]
    assert TOKEN not in tgsyncd.out + tgsyncd.err


def test_config_example_can_be_used_at_once(tgsyncd):
    """What is printed is a valid file."""
    assert tgsyncd("config", "example") == 0
    (tgsyncd.folder / "e.yaml").write_text(tgsyncd.out)
    assert tgsyncd("config", "check", "-c", "e.yaml") == 0


def test_the_users_file_is_read_by_default(tgsyncd):
    """~/.config/tgsyncd/tgsyncd.yaml needs no flag."""
    path = tgsyncd.folder / ".config/tgsyncd/tgsyncd.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("data_dir: /elsewhere")
    assert tgsyncd("list") == 0
    assert tgsyncd.application.config.data_dir == Path("/elsewhere")


@pytest.mark.parametrize(("flags", "level"), [([], 0), (["-v"], 1), (["-vv"], 2)])
def test_verbosity(tgsyncd, flags, level):
    """-v says what happens, -vv everything."""
    assert tgsyncd("list", *flags) == 0
    assert tgsyncd.log_levels == [level]


# --- errors and help ---------------------------------------------------------------------------------

ERRORS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_exit_code(tgsyncd, kind):
    """Message and hint on standard error, no traceback."""

    async def fail(_video_id):
        raise kind("it is so", hint="do this")

    tgsyncd.application.delete_video = fail
    assert tgsyncd("delete", "--video-id", "x") == kind.exit_code
    assert kind.exit_code in EXIT_CODES
    assert tgsyncd.err == "error: it is so\n  do this\n"


def test_an_unexpected_error_shows_where_but_no_token(tgsyncd):
    """A traceback helps whoever mends it, and goes into public reports."""

    async def fail(_hours):
        raise RuntimeError(f"GET /bot{TOKEN}/getMe failed")

    tgsyncd.application.cleanup = fail
    assert tgsyncd("cleanup") == 1
    assert "RuntimeError" in tgsyncd.err
    assert "test_verbs.py" in tgsyncd.err
    assert TOKEN not in tgsyncd.err


@pytest.mark.parametrize("arguments", [["nope"], ["list", "--nope"], ["delete"], ["config"]])
def test_a_wrong_command_line_is_exit_code_2(tgsyncd, arguments, capsys):
    """As for every other mistake in the configuration."""
    assert tgsyncd(*arguments) == 2


def test_help_names_verbs_and_exit_codes(tgsyncd, capsys):
    """The first page says what there is."""
    assert tgsyncd("--help") == 0
    text = capsys.readouterr().out
    for word in [*VERBS, *map(str, EXIT_CODES)]:
        assert word in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(tgsyncd, verb, capsys):
    """Each option is explained."""
    assert tgsyncd(verb, "--help") == 0
    assert "Usage: tgsyncd " + verb in capsys.readouterr().out
    command = cli.get_command(click.Context(cli), verb)
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name
