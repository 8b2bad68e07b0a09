# SPDX-License-Identifier: MIT
"""The schema describes itself, and what is rendered of it is true."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tgsyncd.config.environment import variables
from tgsyncd.config.problems import model_of
from tgsyncd.config.reference import render_example, render_reference
from tgsyncd.config.schema import Config
from tgsyncd.model import DOCUMENT_MAX_BYTES, PackLimits

ROOT = Path(__file__).parents[2]


def options(section=Config, at=""):
    for name, info in section.model_fields.items():
        yield f"{at}{name}", info
        inner = model_of(info.annotation)
        if inner is not None:
            yield from options(inner, f"{at}{name}.")


def test_every_option_has_a_description():
    """Sections are described by their docstring, options by their field."""
    for name, info in options():
        inner = model_of(info.annotation)
        assert info.description or (inner and inner.__doc__), name


def test_the_example_reads_as_the_defaults():
    """Copying the example changes nothing."""
    assert Config.model_validate(yaml.safe_load(render_example())) == Config()


def test_the_example_names_every_option():
    """Nothing has to be looked up elsewhere."""
    text = render_example()
    for name, info in options():
        if "libraries." not in name and "bots." not in name and not info.exclude:
            assert f"{name.rpartition('.')[2]}:" in text, name
        assert info is not None


def test_the_reference_names_every_option():
    """docs/configuration.md is complete."""
    text = render_reference()
    for name, info in options():
        if not info.exclude:
            assert f"`{name.rpartition('.')[2]}`" in text or f"`{name}`" in text, name


def test_every_option_is_obeyed():
    """An option that no code reads would be a promise that nobody keeps."""
    code = "\n".join(
        path.read_text()
        for path in (ROOT / "tgsyncd").rglob("*.py")
        if path.parent.name != "config" or path.name in {"schema.py", "load.py", "secrets.py"}
    )
    for name, info in options():
        if model_of(info.annotation) is None:
            key = name.rpartition(".")[2]
            assert f".{key}" in code, f"{name} is read nowhere"


def test_no_two_options_share_a_variable():
    """Each variable sets one option; a secret that was read has none."""
    plain = [name for name, info in options() if model_of(info.annotation) is None and not info.exclude]
    direct = [name for name in plain if not name.startswith(("libraries.", "telegram.bots."))]
    assert len(variables()) == len(direct)


def test_the_defaults_are_those_of_the_core():
    """The largest document and the packing are decided in one place."""
    assert Config().pack_limits == PackLimits()
    assert Config().documents.max_bytes == DOCUMENT_MAX_BYTES


def test_first_documents_are_never_larger_than_the_largest():
    """A small limit needs no second setting."""
    config = Config.model_validate({"documents": {"max_bytes": "5 MB"}})
    assert config.pack_limits.first_documents_bytes == (4_000_000, 5_000_000)


def test_the_configuration_is_frozen():
    """It is read once."""
    with pytest.raises(ValidationError):
        Config().server.port = 1


def test_segments_max_is_one_segment_per_document():
    """``max`` has no target."""
    assert Config.model_validate({"segments": {"duration": "max"}}).segments.target_s is None
    assert Config.model_validate({"segments": {"duration": "4 s"}}).segments.target_s == 4.0
