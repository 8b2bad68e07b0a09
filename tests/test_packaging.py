# SPDX-License-Identifier: MIT
"""What is built is what is needed to run: version, types, migrations, the page's player."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import tgsyncd

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """Build the wheel once and return the names in it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
        timeout=280,
    )
    (path,) = folder.glob("*.whl")
    assert path.name.startswith(f"tgsyncd-{tgsyncd.__version__}-py3-none-any")
    return zipfile.ZipFile(path).namelist()


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """Modules, SQL, static files: whatever lies in the package."""
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tgsyncd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= set(wheel)
    assert {"tgsyncd/py.typed", "tgsyncd/web/hls.min.js"} <= set(wheel)
    assert any(name.startswith("tgsyncd/catalog/migrations/") and name.endswith(".sql") for name in wheel)


def test_what_install_service_writes_is_in_the_wheel(wheel):
    """The units and the files for sysusers and tmpfiles; in a clone they are read from where they stand."""
    for folder in ("systemd", "config"):
        here = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {f"tgsyncd/service_files/{name}" for name in here} <= set(wheel)
    assert "tgsyncd/service_files/systemd/tgsyncd.service" in wheel


def test_nothing_else_is_in_the_wheel(wheel):
    """No tests, no data of a demo."""
    assert {name.split("/")[0] for name in wheel} == {"tgsyncd", f"tgsyncd-{tgsyncd.__version__}.dist-info"}


def test_the_licence_is_in_the_wheel(wheel):
    """MIT asks for it."""
    assert any(name.endswith("/LICENSE") for name in wheel)


def test_dependencies_have_floors():
    """Each dependency says which version it needs at least."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        assert ">=" in requirement, requirement


def test_no_registry_is_named():
    """Packages come from wherever the machine is set up to get them."""
    names = ("registry." + "npmjs", "pypi." + "org", "pythonhosted." + "org")
    for path in own_files(ROOT):
        content = path.read_bytes()
        assert not any(registry.encode() in content for registry in names), path


def own_files(folder: Path) -> Iterator[Path]:
    """Yield what is in the repository. Not by asking git: a machine that tests need not have it."""
    patterns = [line.strip("/ ") for line in (ROOT / ".gitignore").read_text().splitlines()]
    for path in sorted(folder.iterdir()):
        name = str(path.relative_to(ROOT))
        if name == ".git" or any(fnmatch(name, each) or fnmatch(path.name, each) for each in patterns):
            continue
        if path.is_dir():
            yield from own_files(path)
        else:
            yield path
