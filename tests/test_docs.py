# SPDX-License-Identifier: MIT
"""What a user can meet is in the documentation, and what the documentation says is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

import tgsyncd
from tests.players.matrix import render_matrix
from tgsyncd import errors
from tgsyncd.cli.app import EXIT_CODES, VERBS, cli
from tgsyncd.config.reference import render_example, render_reference

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CLI = (ROOT / "docs" / "cli.md").read_text()
MARKER = "<!-- Below: printed by `tgsyncd config reference`. -->\n\n"


def commands(group=cli, at=""):
    """Yield every command with its name, also those within ``config``."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield f"{at}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{at}{name} ")


def section(name: str) -> str:
    """Return what docs/cli.md says about a verb."""
    return CLI.partition(f"\n## `{name.split(maxsplit=1)[0]}`\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_verb_and_option_is_documented(name, command):
    """In the verb's own section, or among those that all share."""
    text = section(name)
    assert text, name
    if " " in name:
        assert f"`{name}`" in text
    shared = CLI.partition("## Options of every verb")[2].partition("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(f"`{option}" in text + shared for option in parameter.opts), parameter.opts


def test_every_documented_option_exists():
    """No option that was renamed or never made."""
    known = {option for _, command in commands() for each in command.params for option in each.opts}
    for page in PAGES:
        for line in page.read_text().splitlines():
            if line.startswith("tgsyncd ") or "`tgsyncd " in line:
                text = line.partition("tgsyncd ")[2].partition("`")[0].partition("#")[0]
                for option in re.findall(r"(?<=\s)--[a-z-]+", text):
                    assert option in known | {"--help"}, f"{page.name}: {line}"


def test_every_documented_verb_exists():
    """Commands that can be copied."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for verb in re.findall(r"^(?:\.venv/bin/)?tgsyncd ([a-z-]+)", block, re.MULTILINE):
                assert verb in VERBS, f"{page.name}: tgsyncd {verb}"


def test_every_exit_code_is_documented():
    """In the table of docs/cli.md, and only those."""
    table = CLI.partition("## Exit codes")[2]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == set(EXIT_CODES)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_documented_at_its_exit_code(name):
    """A script that meets the code finds what it may have been."""
    row = next(line for line in CLI.splitlines() if f"`{name}`" in line)
    assert row.startswith(f"| {getattr(errors, name).exit_code} |")


def test_the_example_is_what_the_schema_says():
    """Render it again: tgsyncd config example > tgsyncd.yaml.example."""
    assert (ROOT / "tgsyncd.yaml.example").read_text() == render_example()


def test_the_reference_is_what_the_schema_says():
    """Render it again: tgsyncd config reference, below the marker of docs/configuration.md."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert text.partition(MARKER)[2] == render_reference()


def test_the_table_of_players_is_the_one_that_is_tested():
    """Render it again: tests.players.matrix.render_matrix(), between the markers of docs/players.md."""
    text = (ROOT / "docs" / "players.md").read_text()
    table = text.partition("matrix.py. -->\n\n")[2].partition("\n<!-- End of the table. -->")[0]
    assert table == render_matrix()


def test_the_changelog_has_this_version():
    """A version that is not in it was not released."""
    assert f"\n## {tgsyncd.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_begins_with_the_two_commands():
    """One that shows it, one that tests it; both are there and can be run."""
    commands_in = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [block.strip() for block in commands_in[:2]] == ["sh .ci/demo", "sh .ci/test"]
    for name in ("setup", "demo", "test", "run"):
        subprocess.run(["bash", "-n", ROOT / ".ci" / name], check=True, timeout=60)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """To files that are there, and headings that are in them."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert heading in slugs, target


def test_pages_that_the_code_names_exist():
    """A comment that sends the reader to a page."""
    for path in [*(ROOT / "tgsyncd").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for page, heading in re.findall(r'(docs/[a-z-]+\.md)(?:, "([^"]+)")?', path.read_text()):
            assert (ROOT / page).exists(), f"{path.relative_to(ROOT)} names {page}"
            if heading:
                assert f" {heading}\n" in (ROOT / page).read_text(), f"{page} has no heading {heading}"


def test_every_page_is_reachable_from_the_readme():
    """Nobody finds a page that nothing links to."""
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
        todo += [(page.parent / target).resolve() for target in targets if "://" not in target]
    assert set(PAGES) <= seen, {page.name for page in set(PAGES) - seen}
