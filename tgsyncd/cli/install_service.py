# SPDX-License-Identifier: MIT
"""``tgsyncd install-service``: make tgsyncd a systemd service of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgsyncd.cli.service_files import (
    CONFIG_PATH,
    CREDENTIALS_FOLDER,
    ServiceFile,
    credentials,
    hidden_by_the_unit,
    plan_service,
    secret_files,
)
from tgsyncd.config.load import read_structure
from tgsyncd.durable import fsync_folder
from tgsyncd.errors import Refused, TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config

SYSTEM_COMMANDS = (
    ("systemd-sysusers",),
    ("systemd-tmpfiles", "--create", "tgsyncd.conf"),
    ("systemctl", "daemon-reload"),
)
"""Make the user, the folders, and have systemd read the units."""
COMMAND_TIMEOUT_S = 120


@click.command("install-service")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    show_default=True,
    help="Write below this folder, of an image for instance, and run nothing.",
)
@click.option(
    "--program", type=click.Path(path_type=Path), help="The tgsyncd that systemd starts. [default: this one]"
)
@click.option("--socket", "has_socket", is_flag=True, help="Let systemd open the port (socket activation).")
@click.pass_obj
def command(shell: Shell, *, dry_run: bool, root: Path, program: Path | None, has_socket: bool) -> int:
    """
    Make tgsyncd a systemd service: unit, user, folders, and /etc/tgsyncd/tgsyncd.yaml if there is none.

    Run it as root, and again after a change of the libraries or of credentials: the unit sees the file
    system read-only, and what must be written to is told to it in a drop-in. A configuration that is there is
    never touched. Nothing is started.
    """
    root = shell.folder / root
    config = _read_config(shell, root)
    chosen = _choose_program(shell, program)
    for file in plan_service(program=str(chosen), config=config, has_socket=has_socket):
        shell.say(f"{_install(root, file, dry_run=dry_run)}  {root / file.path.lstrip('/')}")
    if root == Path("/") and not dry_run:
        _run_system_commands(shell)
    for line in _next_steps(config, root, program=chosen, has_socket=has_socket):
        shell.note(line)
    return 0


def _read_config(shell: Shell, root: Path) -> Config | None:
    path = root / CONFIG_PATH.lstrip("/")
    if not path.is_file():
        return None
    # What is relative in it is relative to where it will stand.
    return read_structure(path.read_text("utf-8"), Path(CONFIG_PATH), home=shell.home)


def _choose_program(shell: Shell, given: Path | None) -> Path:
    """Return the program's path. Raises Refused for one that the service could not see."""
    beside = Path(sys.executable).with_name("tgsyncd")
    found = given or (beside if beside.is_file() else shutil.which("tgsyncd"))
    if found is None:
        raise Refused("it is not known where tgsyncd is installed", hint="name it with --program")
    path = shell.folder / found
    if hidden_by_the_unit(str(path)) or hidden_by_the_unit(str(path.resolve())):
        raise Refused(
            f"{path} lies where the service does not look: homes and /tmp are hidden from it",
            hint="install tgsyncd elsewhere, for example in /opt/tgsyncd, or name another with --program",
        )
    return path


def _install(root: Path, file: ServiceFile, *, dry_run: bool) -> str:
    """Write a file if it is to be; say what became of it. Raises TgsyncdError."""
    path = root / file.path.lstrip("/")
    try:
        before = path.read_text("utf-8") if path.exists() else None
        if before is not None and (file.is_yours or before == file.text):
            return "kept     " if file.is_yours else "unchanged"
        if not dry_run:
            _write(path, file.text)
    except OSError as error:
        raise TgsyncdError(
            f"{path} cannot be written: {error.strerror}", hint="run it as root: sudo tgsyncd install-service"
        ) from error
    return "written  " if before is None else "replaced "


def _write(path: Path, text: str) -> None:
    for folder in reversed([each for each in path.parents if not each.exists()]):
        folder.mkdir()
        folder.chmod(0o755)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    fsync_folder(path.parent)


def _run_system_commands(shell: Shell) -> None:
    for argv in SYSTEM_COMMANDS:
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            shell.warn(f"{' '.join(argv)}: {error}; do it by hand")
            continue
        if done.returncode:
            shell.warn(f"{' '.join(argv)} failed: {done.stderr.strip()}; do it by hand")


def _next_steps(config: Config | None, root: Path, *, program: Path, has_socket: bool) -> Iterator[str]:
    """Yield what its owner does next."""
    yield "next:"
    if config is None or not config.libraries:
        yield f"  edit {CONFIG_PATH} (libraries, server.public_urls), then run this once more"
    if config is not None:
        yield from _rights(config, root)
    if config is None or not credentials(config):
        yield f"  {program} config check -c {CONFIG_PATH}"
    yield "  systemctl enable --now tgsyncd" + (".socket tgsyncd.service" if has_socket else "")
    yield "  systemctl status tgsyncd; journalctl -u tgsyncd -f"


def _rights(config: Config, root: Path) -> Iterator[str]:
    missing = [name for name in credentials(config) if not _at(root, f"{CREDENTIALS_FOLDER}/{name}").exists()]
    for name in missing:
        yield f"  put the secret into {CREDENTIALS_FOLDER}/{name} (owner root, mode 0600)"
    owned = [path for path in secret_files(config) if _is_roots(_at(root, path))]
    if owned:
        yield f"  chown tgsyncd {' '.join(owned)}"
    for library in config.libraries:
        if not _at(root, str(library.publish)).exists():
            yield f"  install -d -o tgsyncd -g tgsyncd -m 755 '{library.publish}'"


def _at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _is_roots(path: Path) -> bool:
    try:
        return path.stat().st_uid == 0
    except OSError:
        return False
