# SPDX-License-Identifier: MIT
"""``tgsyncd catalog``: copies of the catalog, made, listed, and put back."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable, render_bytes, render_table, render_time
from tgsyncd.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.catalog.backups import Backup
    from tgsyncd.catalog.restoring import RestoreReport
    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config

SHOWN = 20
"""So many ids are named in a line; --json has all."""


@click.group("catalog")
def command() -> None:
    """Back the catalog up, list its copies, go back to one."""


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
@configured
def backup(shell: Shell, source: Source, *, file: Path | None, json_output: bool) -> int:
    """
    Copy the catalog, also while the daemon runs; the copy is checked.

    Without FILE it goes to `backups` in data_dir, where the daemon puts its own each night, and is removed
    with those in its turn (jobs.backup_keep).
    """
    config = source.load(shell).config

    async def main(reactor: Any) -> int:
        from tgsyncd.catalog.backups import backup_name, make_backup

        target = shell.folder / file if file else _folder(config) / backup_name(reactor.seconds())
        make_backup(config.catalog_path, target)
        if json_output:
            shell.say_json({"path": str(target), "size_bytes": target.stat().st_size})
        else:
            shell.say(f"{target}: {render_bytes(target.stat().st_size)}, checked")
        return 0

    return shell.run(main, shell)


@command.command("backups")
@as_json
@configured
def backups(shell: Shell, source: Source, *, json_output: bool) -> int:
    """List the copies of the catalog, the newest first."""
    from tgsyncd.catalog.backups import list_backups

    config = source.load(shell).config
    found = list_backups(_folder(config))
    if json_output:
        shell.say_json([_backup_json(each) for each in found])
        return 0
    if not found:
        shell.note(f"there is no copy in {_folder(config)}; make one with: tgsyncd catalog backup")
        return 0
    rows = [
        (
            render_time(each.made_at_s),
            render_bytes(each.size_bytes),
            each.problem or str(each.videos),
            str(each.path),
        )
        for each in found
    ]
    for line in render_table(("MADE", "SIZE", "VIDEOS", "FILE"), rows):
        shell.say(printable(line))
    return 0


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--latest", is_flag=True, help="Go back to the newest copy in `backups`.")
@click.option("--exact", is_flag=True, help="Take nothing over of what was stored since the copy was made.")
@as_json
@configured
def restore(
    shell: Shell, source: Source, *, file: Path | None, latest: bool, exact: bool, json_output: bool
) -> int:
    """
    Put a copy of the catalog in the place of the one that is there; stop the daemon first.

    The copy is checked before anything changes, and the replaced catalog is kept beside it. Videos that were
    stored since the copy was made are taken over from the replaced catalog as far as it can be read (not
    with --exact). The next start of the daemon looks which videos are still in the store, and puts the
    .strm files right.
    """
    if (file is None) is not latest:
        raise click.UsageError("name a copy, or take the newest with --latest")
    config = source.load(shell).config
    copy = shell.folder / file if file else _newest(config)

    async def main(reactor: Any) -> int:
        from tgsyncd.catalog.restoring import restore_catalog

        report = restore_catalog(
            config.catalog_path,
            copy,
            exact=exact,
            now_s=reactor.seconds(),
            renew_secret=_renewing(config.data_dir / "playback-secret"),
        )
        if json_output:
            shell.say_json(_report_json(report))
        else:
            _say(shell, report)
        return 0

    return shell.run(main, shell)


def _folder(config: Config) -> Path:
    return config.data_dir / "backups"


def _newest(config: Config) -> Path:
    from tgsyncd.catalog.backups import list_backups

    sound = [each.path for each in list_backups(_folder(config)) if not each.problem]
    if not sound:
        raise NotFound(f"there is no sound copy in {_folder(config)}", hint="name one with its path")
    return sound[0]


def _renewing(path: Path) -> Callable[[], None]:
    """Return what makes a new playback secret: all signed URLs that were given out open nothing then."""

    def renew() -> None:
        if not path.exists():
            return
        partial = path.with_name(f".{path.name}.part")
        partial.unlink(missing_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    return renew


def _say(shell: Shell, report: RestoreReport) -> None:
    """Say what is in force now, and what is lost."""
    taken = report.taken
    shell.say(f"restored {report.copy}: {report.videos} videos")
    if report.kept is not None:
        shell.say(f"the catalog that was there is kept: {report.kept}")
    if taken.adopted:
        shell.say(f"stored since, and taken over: {_names(taken.adopted)}")
    if taken.newer:
        shell.say(f"replaced since, and taken over as they are now: {_names(taken.newer)}")
    if taken.lost:
        shell.warn(f"stored since, and not readable any more: {_names(taken.lost)}")
    if taken.suspects is None:
        shell.warn(
            "what was stored or deleted since the copy was made is not known: documents sent since stay in "
            "the store and belong to nothing; source files that still stand are stored again"
        )
    elif taken.suspects:
        shell.warn(f"documents were deleted since, which the daemon will look for: {_names(taken.suspects)}")
    if report.secret_renewed:
        shell.note("signed URLs that were given out open nothing any more; the .strm files get new ones")
    shell.note("next: start the daemon; it looks what the store still has, and puts the .strm files right")


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _backup_json(each: Backup) -> dict[str, object]:
    return {
        "path": str(each.path),
        "made_at": render_time(each.made_at_s),
        "size_bytes": each.size_bytes,
        "videos": each.videos,
        "problem": each.problem,
    }


def _report_json(report: RestoreReport) -> dict[str, object]:
    return {
        "copy": str(report.copy),
        "kept": str(report.kept) if report.kept else None,
        "videos": report.videos,
        "adopted": list(report.taken.adopted),
        "newer": list(report.taken.newer),
        "lost": list(report.taken.lost),
        "suspects": None if report.taken.suspects is None else list(report.taken.suspects),
        "secret_renewed": report.secret_renewed,
    }
