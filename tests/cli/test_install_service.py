# SPDX-License-Identifier: MIT
"""``install-service``: what it writes, what it leaves alone, and what systemd makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tgsyncd.cli import install_service
from tgsyncd.cli.service_files import read_packaged, render_drop_in
from tgsyncd.config.load import check_text, read_structure

PROGRAM = "/opt/tgsyncd/.venv/bin/tgsyncd"
UNIT = "etc/systemd/system/tgsyncd.service"
DROP_IN = "etc/systemd/system/tgsyncd.service.d/10-tgsyncd.conf"
CONFIG = "etc/tgsyncd/tgsyncd.yaml"

YAML = """
data_dir: /var/lib/tgsyncd
cache_dir: /var/cache/tgsyncd
libraries:
  - {name: Films, source: /srv/films, publish: "/srv/jelly fin/100%"}
  - {name: Shows, source: /home/ann/shows, publish: /home/ann/published}
  - {name: Inbox, source: /srv/inbox, publish: /srv/out, after_publish: move, move_to: /srv/done}
auth: {admin_token_credential: admin}
telegram:
  bots: [{credential: bot-1}, {token_file: bot-2.token}]
  chats: [-1001]
store: {kind: telegram}
"""


@pytest.fixture
def install(tgsyncd):
    """Install into an image; the command line has ``.out`` and ``.err``."""

    def install(*more):
        code = tgsyncd("install-service", "--root", "image", "--program", PROGRAM, *more)
        tgsyncd.image = tgsyncd.folder / "image"
        return code

    tgsyncd.install = install
    return tgsyncd


def config(text: str):
    return read_structure(text, Path("/etc/tgsyncd/tgsyncd.yaml"), home=Path("/root"))


def files_below(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_machine_gets_everything(install):
    """Public modes, no half-written file, and a configuration that is one."""
    assert install.install() == 0
    found = files_below(install.image)
    assert set(found) == {UNIT, DROP_IN, CONFIG, "etc/sysusers.d/tgsyncd.conf", "etc/tmpfiles.d/tgsyncd.conf"}
    assert f"\nExecStart={PROGRAM} run --config /etc/tgsyncd/tgsyncd.yaml\n" in found[UNIT]
    assert {(install.image / name).stat().st_mode & 0o777 for name in found} == {0o644}
    check_text(found[CONFIG], Path("/etc/tgsyncd/tgsyncd.yaml"), home=Path("/root"))
    made = config(found[CONFIG])
    assert (str(made.data_dir), str(made.cache_dir)) == ("/var/lib/tgsyncd", "/var/cache/tgsyncd")
    assert "edit /etc/tgsyncd/tgsyncd.yaml" in install.err
    assert "systemctl enable --now tgsyncd\n" in install.err


def test_a_dry_run_writes_nothing(install):
    """And says what it would."""
    assert install.install("--dry-run") == 0
    assert install.out.count("written") == 5
    assert not install.image.exists()


def test_again_it_changes_what_changed_and_never_the_configuration(install):
    """An update replaces the unit; the drop-in follows the configuration."""
    install.install()
    (install.image / CONFIG).write_text(YAML)
    (install.image / UNIT).write_text("an older one")
    assert install.install("--socket") == 0
    words = dict(reversed(line.split(maxsplit=1)) for line in install.out.splitlines())
    by_name = {str(Path(path).relative_to(install.image)): word for path, word in words.items()}
    assert by_name == {
        UNIT: "replaced",
        DROP_IN: "replaced",
        CONFIG: "kept",
        "etc/sysusers.d/tgsyncd.conf": "unchanged",
        "etc/tmpfiles.d/tgsyncd.conf": "unchanged",
        "etc/systemd/system/tgsyncd.socket": "written",
    }
    assert (install.image / CONFIG).read_text() == YAML
    assert "/etc/tgsyncd/credentials/bot-1 (owner root, mode 0600)" in install.err
    assert "install -d -o tgsyncd -g tgsyncd -m 755 '/srv/out'" in install.err
    assert "tgsyncd.socket tgsyncd.service" in install.err


def test_the_drop_in_says_what_may_be_written_and_what_is_seen():
    """Published folders, sources that are moved away; homes are empty but for what is named."""
    lines = render_drop_in(config(YAML)).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "[Service]",
        'ReadWritePaths="-/srv/jelly fin/100%%"',
        'ReadWritePaths="-/srv/out"',
        'ReadWritePaths="-/srv/inbox"',
        'ReadWritePaths="-/srv/done"',
        "ProtectHome=tmpfs",
        'BindPaths="-/home/ann/published"',
        'BindReadOnlyPaths="-/home/ann/shows"',
        "LoadCredential=bot-1:/etc/tgsyncd/credentials/bot-1",
        "LoadCredential=admin:/etc/tgsyncd/credentials/admin",
    ]


def test_folders_elsewhere_are_named_too():
    """A data_dir, a store and a cache that are not the unit's own."""
    text = "data_dir: /srv/state\ncache_dir: /var/cache/tgsyncd\nstore: {directory: /mnt/store}\n"
    lines = render_drop_in(config(text)).splitlines()
    assert 'ReadWritePaths="-/mnt/store"' in lines
    assert 'ReadWritePaths="-/srv/state"' in lines
    assert sum("ReadWrite" in line for line in lines) == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_understands_what_was_installed_and_it_is_as_closed(install):
    """Verified without a complaint, drop-in included, and still at most 1.2 of 10."""
    install.install()
    (install.image / CONFIG).write_text(YAML)
    install.install("--socket")
    program = install.folder / "tgsyncd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = install.image / UNIT
    unit.write_text(unit.read_text().replace(PROGRAM, str(program)))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit, unit.with_suffix(".socket")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "tgsyncd" not in result.stderr, result.stderr
    both = install.folder / "tgsyncd.service"
    drop_in = (install.image / DROP_IN).read_text().replace("[Service]", "")
    both.write_text(unit.read_text().replace("\n[Install]", f"{drop_in}\n[Install]"))
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=12", "--no-pager", both],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-1500:] + result.stderr


@pytest.mark.parametrize("program", ["/home/ann/tgsyncd/.venv/bin/tgsyncd", "/tmp/t/tgsyncd", "/root/t"])
def test_a_program_that_the_service_would_not_see_is_refused(tgsyncd, program):
    """ProtectHome and PrivateTmp hide it; nothing is written then."""
    assert tgsyncd("install-service", "--root", "image", "--program", program) == 4
    assert "in /opt/tgsyncd" in tgsyncd.err
    assert not (tgsyncd.folder / "image").exists()


def test_without_rights_it_says_so(install):
    """A file where a folder must be is as good as no rights, also for root."""
    (install.folder / "image").mkdir()
    (install.folder / "image" / "etc").touch()
    assert install.install() == 1
    assert "sudo" in install.err


def test_a_broken_configuration_is_named_before_anything_is_written(install):
    """With the option that is wrong."""
    (install.folder / "image/etc/tgsyncd").mkdir(parents=True)
    (install.folder / "image" / CONFIG).write_text("libraris: []\n")
    assert install.install() == 2
    assert "libraries" in install.err
    assert set(files_below(install.folder / "image")) == {CONFIG}


def test_programs_of_the_system_are_only_run_for_the_machine_itself(install, monkeypatch):
    """Not for an image, not in a dry run."""
    ran = []
    monkeypatch.setattr(install_service, "_run_system_commands", ran.append)
    install.install()
    install("install-service", "--dry-run", "--program", PROGRAM)
    assert not ran


def test_the_documented_commands_are_the_ones_that_are_there():
    """What docs/operations.md tells to copy, and what the verb runs."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for argv in install_service.SYSTEM_COMMANDS:
        assert " ".join(argv) in text
    for name in re.findall(r"install -m 644 (\S+)", text):
        assert read_packaged(name)
