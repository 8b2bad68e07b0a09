# SPDX-License-Identifier: MIT
"""YAML, variables, flags and secrets to one Config."""

from __future__ import annotations

from pathlib import Path

import pytest

from tgsyncd.config.load import find_config, load_config, own_addresses
from tgsyncd.errors import ConfigError

TOKEN = "123456789:AAcanarycanarycanarycanarycanary123"


@pytest.fixture
def load(tmp_path):
    """Write YAML and load it."""

    def load(yaml=None, *, environ=None, flags=None):
        path = None
        if yaml is not None:
            path = tmp_path / "etc" / "tgsyncd.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml)
        return load_config(
            path,
            environ={} if environ is None else environ,
            flags=flags or {},
            home=Path("/home/ann"),
            folder=Path("/cwd"),
        )

    return load


def problems(load, yaml, **rest) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(yaml, **rest)
    return [line.strip() for line in caught.value.message.splitlines()]


def test_an_empty_file_is_the_defaults(load):
    """Nothing needs to be configured."""
    assert load("").config == load(None).config


def test_paths_are_relative_to_the_file(load, tmp_path):
    """In YAML a relative path is relative to the file, ~ is the home, and .. is resolved."""
    config = load("data_dir: x/../data\ncache_dir: ~/c").config

    assert config.data_dir == tmp_path / "etc" / "data"
    assert config.cache_dir == Path("/home/ann/c")
    assert config.store_dir == config.data_dir / "store"


def test_paths_in_variables_are_relative_to_the_current_folder(load):
    """A variable or flag is typed by somebody who stands in a folder."""
    config = load("", environ={"TGSYNCD_DATA_DIR": "d"}, flags={("cache_dir",): Path("c")}).config

    assert (config.data_dir, config.cache_dir) == (Path("/cwd/d"), Path("/cwd/c"))


def test_flags_win_over_variables_over_yaml(load):
    """The nearer to the user, the stronger."""
    yaml = "server: {port: 1000, listen: 10.0.0.1}\nvideo: {crf: 30}"
    environ = {"TGSYNCD_SERVER_PORT": "2000", "TGSYNCD_SERVER_LISTEN": "10.0.0.2"}

    config = load(yaml, environ=environ, flags={("server", "port"): 3000}).config

    assert (config.server.port, config.server.listen, config.video.crf) == (3000, "10.0.0.2", 30)


def test_lists_in_variables_are_separated_by_commas(load):
    """Public URLs, chats and sizes can be given as variables too."""
    environ = {
        "TGSYNCD_SERVER_PUBLIC_URLS": "http://a.lan:1/, http://b.lan",
        "TGSYNCD_TELEGRAM_CHATS": "-1001,-1002",
        "TGSYNCD_DOCUMENTS_FIRST_BYTES": "1 MB,2 MB",
    }

    config = load(None, environ=environ).config

    assert config.server.public_urls == ("http://a.lan:1", "http://b.lan")
    assert config.telegram.chats == (-1001, -1002)
    assert config.documents.first_bytes == (1_000_000, 2_000_000)


def test_every_problem_is_reported_with_its_line(load):
    """One look at the message is enough to mend the whole file."""
    yaml = "\n".join(
        [
            "verify: ful",
            "data_dri: x",
            "spool:",
            "  max_bytes: 1 MB",
            "libraries:",
            "  - name: Films",
            "segments: {duration: 7 parsec}",
        ]
    )

    lines = problems(load, yaml)

    unit = "has no time unit that is known; use ms, s, min, h or d"
    assert lines[0] == "6 problems in the configuration:"
    assert lines[1:] == [
        "tgsyncd.yaml, line 1: verify: 'ful' is not one of full, sample, none (did you mean full?)",
        "tgsyncd.yaml, line 2: data_dri: there is no option of this name; did you mean data_dir? Known here: "
        + ", ".join(load(None).config.model_dump()),
        "tgsyncd.yaml, line 4: spool.max_bytes: this must be at least 64 MB",
        "tgsyncd.yaml, line 6: libraries[0].publish: this option is needed and is not there",
        "tgsyncd.yaml, line 6: libraries[0].source: this option is needed and is not there",
        f"tgsyncd.yaml, line 7: segments.duration: '7 parsec' {unit}",
    ]


def test_problems_of_variables_and_flags_name_them(load):
    """A wrong value is looked for where it came from."""
    lines = problems(load, "", environ={"TGSYNCD_VIDEO_CRF": "99"}, flags={("server", "port"): 70_000})

    assert "environment variable TGSYNCD_VIDEO_CRF: video.crf: this must be at most 51" in lines
    assert "command line: server.port: this must be at most 65,535" in lines


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("a: [", "line 1: this is not valid YAML"),
        ("- a", "line 1: the file must hold options"),
        ("verify: full\nverify: none", "line 2: verify: this key was given before, on line 1"),
        ("server: 5", "line 1: server: this must hold options"),
        ("segments: {duration: 90 s}", "between 1 s and 60 s"),
        ("server: {public_urls: [ftp://x]}", "http:// or https://"),
        ("server: {public_urls: ['http://u:p@x']}", "no user"),
        ("server: {public_urls: ['http://x:99999']}", "port"),
        ("documents: {max_bytes: 30 MB}", "local_mode"),
        ("store: {kind: telegram}", "at least one bot and one chat"),
        ("telegram: {chats: [-1], scratch_chat: -1}", "scratch_chat: this must not be"),
        ("telegram: {bots: [{token_env: A, token_file: b}]}", "exactly one of"),
        ("publish: {file_mode: 999}", "not a file mode"),
        ("libraries: [{name: A, source: a, publish: a/b}]", "inside the source"),
        ("libraries: [{name: A, source: a, publish: a}]", "the source folder too"),
        ("libraries: [{name: A, source: a, publish: b, after_publish: move}]", "needs the folder move_to"),
        (
            "libraries: [{name: A, source: a, publish: b, after_publish: move, move_to: a/done}]",
            "this lies inside the source of 'A'",
        ),
        (
            "libraries: [{name: A, source: a, publish: b}, {name: A, source: c, publish: d}]",
            "another library is named",
        ),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("? [1, 2]\n: 3", "must be text"),
    ],
)
def test_what_cannot_work_is_refused(load, yaml, expected):
    """Contradictions are found before anything is done."""
    assert expected in " ".join(problems(load, yaml))


@pytest.mark.parametrize("yaml", ["publish: {file_mode: 0640}", "publish: {file_mode: '0640'}"])
def test_modes_are_octal_with_and_without_quotes(load, yaml):
    """0640 means what chmod means by it."""
    assert load(yaml).config.publish.file_mode == 0o640


def test_an_empty_section_means_its_defaults(load):
    """A section whose options are all commented out is not an error."""
    assert load("server:\nvideo:\n").config == load("").config


def test_a_variable_that_sets_nothing_is_named(load):
    """A misspelled variable must not be silently without effect."""
    warnings = load(None, environ={"TGSYNCD_VERIFI": "none"}).warnings

    assert warnings == ("the environment variable TGSYNCD_VERIFI sets nothing; did you mean TGSYNCD_VERIFY?",)


def test_a_missing_file_is_a_config_error(tmp_path):
    """And its hint says how to write one."""
    with pytest.raises(ConfigError, match="no configuration file") as caught:
        load_config(tmp_path / "no.yaml", environ={}, flags={}, home=tmp_path, folder=tmp_path)

    assert "config example" in caught.value.hint


def test_a_file_that_is_not_text_is_a_sentence(tmp_path):
    """Somebody named the wrong file: nobody needs to hear of codecs."""
    path = tmp_path / "film.yaml"
    path.write_bytes(b"\x00\xad\xff")
    with pytest.raises(ConfigError, match="is not text in UTF-8") as caught:
        load_config(path, environ={}, flags={}, home=tmp_path, folder=tmp_path)
    assert "tgsyncd config example" in caught.value.hint


def test_a_token_is_read_from_a_private_file(load, tmp_path):
    """The token is there, and in no representation of the configuration."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)

    config = load(
        f"store: {{kind: telegram}}\ntelegram: {{bots: [{{token_file: {file}}}], chats: [-1]}}"
    ).config

    assert config.telegram.bots[0].token.get_secret_value() == TOKEN
    for text in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert TOKEN not in text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(load, tmp_path, mode):
    """Group and others must not read a secret; the hint is the command that mends it."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)

    with pytest.raises(ConfigError, match="can be read by others") as caught:
        load(f"store: {{kind: telegram}}\ntelegram: {{bots: [{{token_file: {file}}}], chats: [-1]}}")

    assert "chmod 600" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_token_in_a_variable_is_taken_out_of_the_environment(load):
    """No child process inherits it."""
    environ = {"BOT": TOKEN}

    yaml = "store: {kind: telegram}\ntelegram: {bots: [{token_env: BOT}], chats: [-1]}"
    config = load(yaml, environ=environ).config

    assert config.telegram.bots[0].token.get_secret_value() == TOKEN
    assert environ == {}


def test_a_token_from_a_systemd_credential(load, tmp_path):
    """LoadCredential= puts it into a folder that the service manager guards."""
    (tmp_path / "bot-1").write_text(TOKEN)
    yaml = "store: {kind: telegram}\ntelegram: {bots: [{credential: bot-1}], chats: [-1]}"

    config = load(yaml, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).config

    assert config.telegram.bots[0].token.get_secret_value() == TOKEN
    with pytest.raises(ConfigError, match="not started by systemd"):
        load(yaml)


@pytest.mark.parametrize(
    ("yaml", "where"),
    [
        (f"telegram:\n  bots:\n  - token: {TOKEN}", "telegram.bots[0].token"),
        (f"telegram:\n  chats: ['{TOKEN}']", "telegram.chats[0]"),
        (f"verify: {TOKEN}", "verify"),
        (f"spool: {{max_bytes: '{TOKEN}'}}", "spool.max_bytes"),
        (f"server: {{public_urls: ['{TOKEN}']}}", "server.public_urls[0]"),
        ("telegram: {bots: [{token_env: A}], chats: [-1]}\nstore: {kind: telegram}", "telegram.bots[0]"),
    ],
)
def test_a_token_in_the_wrong_place_is_not_printed(load, yaml, where):
    """Whatever somebody pastes wherever, the message does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        load(yaml, environ={"A": f"{TOKEN} and more"})

    assert where in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_tokens_are_not_read_when_documents_are_in_a_directory(load):
    """A directory store works although a bot's file is not there."""
    load("telegram: {bots: [{token_file: /nonexistent}], chats: [-1]}")


def test_all_bad_tokens_are_reported_together(load):
    """Two bots without a token are two lines."""
    yaml = "store: {kind: telegram}\ntelegram: {chats: [-1], bots: [{token_env: A}, {token_env: B}]}"

    text = " ".join(problems(load, yaml))

    assert "variable A is not set" in text
    assert "variable B is not set" in text


def test_the_admin_token_is_read_and_checked(load, tmp_path):
    """A secret like the others."""
    file = tmp_path / "admin"
    file.write_text("")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="first line is empty"):
        load(f"auth: {{admin_token_file: {file}}}")

    file.write_text("swordfish\n")

    loaded = load(f"auth: {{admin_token_file: {file}}}")
    assert loaded.secrets == ("swordfish",)
    assert loaded.config.auth.admin_token.get_secret_value() == "swordfish"
    assert "swordfish" not in repr(loaded)
    assert "swordfish" not in loaded.config.model_dump_json()


def test_the_admin_token_comes_from_one_place_and_never_from_yaml(load, tmp_path):
    """A file or a systemd credential."""
    (tmp_path / "admin").write_text("swordfish\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = load("auth: {admin_token_credential: admin}", environ=environ)
    assert loaded.secrets == ("swordfish",)
    with pytest.raises(ConfigError, match="not started by systemd"):
        load("auth: {admin_token_credential: admin}")
    with pytest.raises(ConfigError, match="name one of"):
        load("auth: {admin_token_credential: admin, admin_token_file: admin}")
    with pytest.raises(ConfigError, match="does not belong into this file"):
        load("auth: {admin_token: swordfish}")


def test_the_users_file_is_found_before_the_machines(tmp_path):
    """~/.config first, /etc second, none otherwise."""
    home, etc = tmp_path / "home", tmp_path / "etc"
    assert find_config(home, etc=etc) is None
    for folder in (etc / "tgsyncd", home / ".config/tgsyncd"):
        folder.mkdir(parents=True)
        (folder / "tgsyncd.yaml").touch()
        assert find_config(home, etc=etc) == folder / "tgsyncd.yaml"


def test_own_addresses_include_loopback():
    """The adapter speaks to the real machine."""
    assert "127.0.0.1" in {entry.address for entry in own_addresses()}
