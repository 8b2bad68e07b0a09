# SPDX-License-Identifier: MIT
"""
Broken configuration files, each with the whole message that its owner reads.

``broken/<name>.yaml`` is the file, ``broken/<name>.txt`` the message. After a change of wording:
``python -m tests.config.test_broken`` writes the messages anew; read the difference as an owner would.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tgsyncd.config.hosts import InterfaceAddress
from tgsyncd.config.load import load_config
from tgsyncd.config.problems import model_of
from tgsyncd.config.schema import Config
from tgsyncd.config.yamltext import MAX_BYTES
from tgsyncd.errors import ConfigError

FOLDER = Path(__file__).parent / "broken"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TOKEN = "123456789:AAnobodysTokenNobodysTokenNobodysTo"
SECRETS = {
    "private": (f"{TOKEN}\n", 0o600),
    "world-readable": (f"{TOKEN}\n", 0o644),
    "group-readable": (f"{TOKEN}\n", 0o640),
    "empty": ("\n", 0o600),
    "no-token": ("hunter2\n", 0o600),
}


def message_of(data: bytes, folder: Path) -> str:
    """Return what is printed about a file with these bytes."""
    for name, (text, mode) in SECRETS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    path = folder / "tgsyncd.yaml"
    path.write_bytes(data)
    own = (InterfaceAddress(interface="eth0", address="192.168.1.100"),)
    with pytest.raises(ConfigError) as caught:
        load_config(
            path, environ={}, flags={}, home=Path("/home/ann"), folder=Path("/cwd"), addresses=lambda: own
        )
    text = caught.value.message + (f"\n  {caught.value.hint}" if caught.value.hint else "")
    return without_lists(text.replace(str(folder), "/etc/tgsyncd")) + "\n"


def without_lists(text: str) -> str:
    """Replace the list of a section's options, which grows with each new one."""
    sections = [(Config, "all options")]
    for section, name in sections:
        names = [option for option, info in section.model_fields.items() if not info.exclude]
        text = text.replace(f"Known here: {', '.join(names)}", f"Known here: <{name}>")
        for option, info in section.model_fields.items():
            inner = model_of(info.annotation)
            if inner is not None:
                sections.append((inner, f"options of {option}"))
    return text


@pytest.mark.parametrize("name", NAMES)
def test_the_message_is_the_one_expected(name, tmp_path):
    """Word for word: where, which option, what is allowed."""
    expected = (FOLDER / f"{name}.txt").read_text()
    assert message_of((FOLDER / f"{name}.yaml").read_bytes(), tmp_path) == expected


def test_there_are_enough_of_them():
    """And each has its message."""
    assert len(NAMES) >= 40
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_for_an_owner(name):
    """No word of Python, of pydantic, of the reader's exceptions; no secret; each line says where."""
    text = (FOLDER / f"{name}.txt").read_text()
    for word in ("Input", "input should", "None", "object at", "<class", "Error", "traceback", TOKEN):
        assert word not in text
    first, *rest = text.splitlines()
    assert "tgsyncd.yaml" in first or first.endswith("problems in the configuration:")
    if rest and first.endswith("configuration:"):
        assert int(first.split()[0]) == len(rest)
        lines = [int(line.partition("line ")[2].partition(":")[0]) for line in rest]
        assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# " + b"x" * MAX_BYTES, "longer than 256 kB"),
        (b"libraries:\n" + b"  - {name: A, source: a, publish: b}\n" * 300, "at most 200 libraries"),
        (b"data_dir: " + b"[" * 20_000, "nested more than 32 deep"),
        (b"scan: {exclude: [" + b"x," * 30_000 + b"]}", "more than 20,000 values"),
    ],
    ids=["long", "libraries", "deep", "wide"],
)
def test_what_is_too_large_is_refused_before_it_is_built(data, expected, tmp_path):
    """A file that was named by mistake takes neither the memory nor the evening."""
    assert expected in message_of(data, tmp_path)


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"---\n", b"~\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_not_broken(data, tmp_path):
    """It means the defaults."""
    path = tmp_path / "tgsyncd.yaml"
    path.write_bytes(data)
    loaded = load_config(path, environ={}, flags={}, home=tmp_path, folder=tmp_path)
    assert loaded.config.server.port == 8080


def test_a_folder_named_as_a_date_is_text(tmp_path):
    """YAML would make a date of it, and no path."""
    path = tmp_path / "tgsyncd.yaml"
    path.write_text("data_dir: 2020-01-01\nlibraries:\n  - &a {name: A, source: a, publish: b}\n"
                    "  - {<<: *a, name: 2020-02-31, source: c}\n")  # fmt: skip
    config = load_config(path, environ={}, flags={}, home=tmp_path, folder=tmp_path).config
    assert config.data_dir == tmp_path / "2020-01-01"
    assert [library.name for library in config.libraries] == ["A", "2020-02-31"]


if __name__ == "__main__":
    for each in FOLDER.glob("*.yaml"):
        with tempfile.TemporaryDirectory() as scratch:
            each.with_suffix(".txt").write_text(message_of(each.read_bytes(), Path(scratch)))
