# SPDX-License-Identifier: MIT
"""The unit is valid, hardened, and fits the program."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tgsyncd.cli.run import STOP_S, command
from tgsyncd.config.schema import Server

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "tgsyncd.service"
DROP_IN = ROOT / "systemd" / "hardware-encoder.conf"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd
def test_exposure(tmp_path):
    """At most 1.2 of 10; with a hardware encoder's devices at most 1.4."""
    result = analyze("security", "--offline=yes", "--threshold=12", "--no-pager", str(UNIT))
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    # What systemd reads when the drop-in is installed.
    both = tmp_path / "tgsyncd.service"
    text = UNIT.read_text()
    both.write_text(text.replace("\n[Install]", DROP_IN.read_text().replace("[Service]", "") + "\n[Install]"))
    result = analyze("security", "--offline=yes", "--threshold=14", "--no-pager", str(both))
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr


@needs_systemd
def test_verify(tmp_path):
    """systemd understands every line; the program it starts is made up here, for it is not installed."""
    program = tmp_path / "tgsyncd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "tgsyncd.service"
    unit.write_text(re.sub(r"/opt/tgsyncd/\S+/tgsyncd", str(program), UNIT.read_text()))
    port = tmp_path / "tgsyncd.socket"
    port.write_text(UNIT.with_suffix(".socket").read_text())
    drop_in = tmp_path / "tgsyncd.service.d" / DROP_IN.name
    drop_in.parent.mkdir()
    drop_in.write_text(DROP_IN.read_text())
    result = analyze("verify", "--man=no", str(unit), str(port))
    assert "tgsyncd" not in result.stderr, result.stderr


@needs_systemd
def test_verify_finds_what_is_wrong(tmp_path):
    """Else the test above would prove nothing: systemd-analyze of some versions exits with 0."""
    unit = tmp_path / "tgsyncd.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nProtectHomee=yes\n")
    assert "ProtectHomee" in analyze("verify", "--man=no", str(unit)).stderr


def test_the_socket_listens_where_the_program_would():
    """By default; another port in one of them would be a surprise."""
    text = UNIT.with_suffix(".socket").read_text()
    server = Server()
    assert f"ListenStream={server.listen}:{server.port}\n" in text


def test_it_fits_the_program():
    """The verb exists, the options are its, and systemd waits longer than a stop takes."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    words = service["ExecStart"].split()
    assert words[1] == command.name
    known = {option for each in command.params for option in each.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert int(service["TimeoutStopSec"]) > STOP_S
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0


@pytest.mark.parametrize(
    ("program", "file"), [("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")]
)
def test_users_and_folders(program, file, tmp_path):
    """systemd's own programs read them."""
    if not shutil.which(program):
        pytest.skip(f"no {program}")
    path = ROOT / "config" / file / "tgsyncd.conf"
    (tmp_path / "etc").mkdir()
    arguments = ["--dry-run"] if program == "systemd-sysusers" else ["--cat-config"]
    result = subprocess.run(
        [program, *arguments, f"--root={tmp_path}", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in result.stderr:
        pytest.skip(f"{program} of this systemd cannot only look")
    assert result.returncode == 0, result.stderr


def test_operations_names_what_there_is():
    """Every file of the repository that docs/operations.md copies."""
    text = (ROOT / "docs" / "operations.md").read_text()
    for name in re.findall(r"(?<=[ `])(?:config|systemd)/[\w./-]+", text):
        assert (ROOT / name).exists(), name
