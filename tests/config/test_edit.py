# SPDX-License-Identifier: MIT
"""A configuration's text is changed where it must be, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.config.edit import render_telegram_sections, replace_sections
from tgsyncd.config.load import check_text
from tgsyncd.config.reference import render_example
from tgsyncd.config.yamltext import parse_yaml
from tgsyncd.errors import ConfigError

SECTIONS = {"store": "store:\n  kind: telegram\n", "telegram": "telegram:\n  chats:\n    - -1001\n"}
VALUES = {"store": {"kind": "telegram"}, "telegram": {"chats": [-1001]}}


def render(**changes):
    values = {
        "token_files": [Path("/etc/tgsyncd/bot.token")],
        "chats": [-1001234567890],
        "scratch_chat": None,
        "base_url": "https://api.telegram.org/bot",
        "base_file_url": "https://api.telegram.org/file/bot",
        "local_mode": False,
    }
    return render_telegram_sections(**{**values, **changes})


def test_defaults_are_not_written():
    """What Telegram itself answers at need not stand in the file."""
    assert parse_yaml("".join(render().values())).values == {
        "store": {"kind": "telegram"},
        "telegram": {"bots": [{"token_file": "/etc/tgsyncd/bot.token"}], "chats": [-1001234567890]},
    }


def test_what_differs_is_written():
    """The scratch chat, another server, local mode."""
    sections = render(
        scratch_chat=-1002, base_url="http://x/bot", base_file_url="http://x/f", local_mode=True
    )
    values = parse_yaml(sections["telegram"]).values["telegram"]
    assert values["scratch_chat"] == -1002
    assert (values["base_url"], values["base_file_url"]) == ("http://x/bot", "http://x/f")
    assert values["local_mode"] is True


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_path_survives(name):
    """Quotes, colons, '#' and what else a folder may be called."""
    text = replace_sections("", render(token_files=[Path("/") / name]))
    assert parse_yaml(text).values["telegram"]["bots"][0]["token_file"] == str(Path("/") / name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", None),
        ("# mine\n", None),
        ("data_dir: /d", "data_dir: /d\n"),
        (
            "# a\nstore:\n  kind: directory # x\n  directory: /d\n\n# b\nserver:\n  port: 1\n",
            "# a\nstore:\n  kind: telegram\n\n# b\nserver:\n  port: 1\n",
        ),
        ("store: {kind: directory}\nverify: none # c\n", "store:\n  kind: telegram\nverify: none # c\n"),
        ("telegram:\n  chats: [-1, -2]\n# end\n", "telegram:\n  chats:\n    - -1001\n# end\n"),
        ("store:\ntelegram:\n", "store:\n  kind: telegram\ntelegram:\n  chats:\n    - -1001\n"),
    ],
)
def test_only_the_sections_change(before, after):
    """Other lines and their comments stay, in their order."""
    result = replace_sections(before, SECTIONS)
    assert parse_yaml(result).values == {**parse_yaml(before).values, **VALUES}
    assert result.startswith(after or before)
    assert replace_sections(result, SECTIONS) == result


def test_the_example_file_can_be_edited():
    """The comments between its sections stay."""
    result = replace_sections(render_example(), SECTIONS)
    kept = [line for line in render_example().splitlines() if re.match(r"# \S", line)]
    assert [line for line in result.splitlines() if re.match(r"# \S", line)] == kept


@pytest.mark.parametrize(
    "text",
    [
        "{store: {kind: directory}, verify: none}",
        "store: &s {kind: directory}\nother: *s\n",
        "verify: none\n---\nverify: full\n",
        "verify: none\n...\n",
        "a: 1\na: 2\n",
        "- 1\n",
        "a: [\n",
    ],
)
def test_what_cannot_be_edited_is_refused(text):
    """Rather than broken."""
    with pytest.raises(ConfigError):
        replace_sections(text, SECTIONS)


def test_a_text_is_checked_like_a_file(tmp_path):
    """Before it is one; tokens are not read."""
    path = tmp_path / "tgsyncd.yaml"
    check_text(replace_sections("data_dir: d\n", render()), path, home=tmp_path)
    with pytest.raises(ConfigError, match=r"tgsyncd\.yaml, line 1: nonsense"):
        check_text("nonsense: 1\n", path, home=tmp_path)
    with pytest.raises(ConfigError, match="does not belong into this file"):
        check_text("telegram:\n  bots:\n    - token: 1\n", path, home=tmp_path)
