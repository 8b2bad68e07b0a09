# SPDX-License-Identifier: MIT
"""``tgsyncd auth``: who may play; revoking URLs that were given out; the admin token."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd import errors
from tgsyncd.cli.options import Source, as_json, configured, serving_urls, set_public_urls
from tgsyncd.cli.status import ask
from tgsyncd.config.load import find_config
from tgsyncd.errors import ConfigError, NotFound, Refused, TgsyncdError
from tgsyncd.model import VideoId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config

ROTATE_TIMEOUT_S = 3600.0
"""Each ``.strm`` is synced to the disk: some 100 a second on a slow one."""
TOKEN_BYTES = 32


@click.group("auth")
def command() -> None:
    """Say who may play; revoke the URLs that were given out; make an admin token."""


@command.command("show")
@as_json
@configured
def show(shell: Shell, source: Source, *, json_output: bool) -> int:
    """Say whether playback URLs are signed, and where the admin token comes from. Prints no secret."""
    loaded = source.load(shell)
    auth = loaded.config.auth
    place = auth.admin_token_file or (
        f"the systemd credential {auth.admin_token_credential}" if auth.admin_token_credential else None
    )
    if json_output:
        shell.say_json({"playback": auth.playback, "admin_token": str(place) if place else None})
        return 0
    words = {
        "auto": "signed by `tgsyncd run`; open where `serve` and `upload` are run by hand",
        "signed": "signed: a .strm opens its own video and nothing else",
        "open": "open: who reaches the server can play every video",
    }
    shell.say(f"playback: {words[auth.playback]}")
    if place is None:
        shell.say("admin token: none; nobody can delete over HTTP, or see /debug and /metrics while signed")
        shell.say("  make one: tgsyncd auth token")
    else:
        shell.say(f"admin token: {place}")
    if auth.admin_token_file is not None:
        url = f"http://127.0.0.1:{loaded.config.server.port}/debug"
        shell.say(f'  curl -H "Authorization: Bearer $(cat {auth.admin_token_file})" {url}')
    return 0


@command.command("token")
@click.option("--file", "file", type=click.Path(path_type=Path), help="The file to write.")
@click.option("--replace", is_flag=True, help="Replace the token that is in the file.")
@click.pass_obj
def token(shell: Shell, *, file: Path | None, replace: bool) -> int:
    """
    Make an admin token: a random one, in a file that only its owner may read.

    Without --file it is `admin.token` beside the configuration file. The token is not printed. A running
    daemon takes it when it is restarted.
    """
    found = find_config(shell.home)
    folder = found.parent if found else shell.home / ".config" / "tgsyncd"
    path = shell.folder / file.expanduser() if file else folder / "admin.token"
    _write_token(path, replace=replace)
    shell.say(f"{path}: a new admin token")
    shell.note("name it in the configuration, and restart the daemon:")
    shell.note(f"auth:\n  admin_token_file: {path}")
    return 0


@command.command("rotate")
@click.option("--video-id", help="Revoke the URLs of this video.")
@click.option("--all", "every", is_flag=True, help="Revoke the URLs of all videos.")
@as_json
@configured
def rotate(shell: Shell, source: Source, *, video_id: str | None, every: bool, json_output: bool) -> int:
    """
    Revoke signed URLs that were given out, of one video or of all, and write the .strm files anew.

    The old URLs open nothing from then on, also for who is watching now. It works on a running daemon, and
    without one. Should it be interrupted, the next start of the daemon writes the .strm files that are left.
    """
    if (video_id is None) is not every:
        raise click.UsageError("name a video with --video-id, or all with --all")
    config = _as_the_daemon_serves(shell, source)
    report = _rotate_over_the_socket(config, video_id)
    if report is None:
        return _rotate_here(shell, config, video_id, json_output=json_output)
    return _say(shell, report, json_output=json_output)


def _as_the_daemon_serves(shell: Shell, source: Source) -> Config:
    """Return the configuration with the addresses and the signing of ``tgsyncd run``."""
    config = source.load(shell).config
    if config.auth.playback == "auto":
        config = config.model_copy(update={"auth": config.auth.model_copy(update={"playback": "signed"})})
    return set_public_urls(config, serving_urls(shell, config, port=config.server.port))


def _rotate_over_the_socket(config: Config, video_id: str | None) -> Mapping[str, Any] | None:
    """Have the running daemon do it; None when there is none."""
    path = f"/rotate/{video_id}" if video_id else "/rotate"
    try:
        answer = ask(config.data_dir / "control.sock", "POST", path, timeout_s=ROTATE_TIMEOUT_S)
    except NotFound:
        return None
    if "error" in answer:
        kind = getattr(errors, str(answer.get("kind")), TgsyncdError)
        raise kind(answer["error"], hint=answer.get("hint", ""))
    return answer


def _rotate_here(shell: Shell, config: Config, video_id: str | None, *, json_output: bool) -> int:
    async def task(application: Any, reactor: Any) -> int:
        from dataclasses import asdict

        from tgsyncd.catalog.lock import CatalogLock
        from tgsyncd.service.addresses import rotate as rotate_addresses

        # A daemon that starts meanwhile would write the same files.
        with CatalogLock(config.catalog_path):
            which = VideoId(video_id) if video_id else None
            done = await rotate_addresses(application, which, reactor=reactor)
        return _say(shell, asdict(done), json_output=json_output)

    return shell.work(config, task)


def _say(shell: Shell, report: Mapping[str, Any], *, json_output: bool) -> int:
    if json_output:
        shell.say_json(report)
        return 0
    count = report["strms_rewritten"]
    shell.say(f"revoked: the URLs of {report['videos']} videos; {count} .strm files written anew")
    if report["strms_left"]:
        shell.warn(f"{report['strms_left']} .strm files could not be written; the daemon tries again")
    return 0


def _write_token(path: Path, *, replace: bool) -> None:
    """Write a new token. Raises Refused when one is there, ConfigError when it cannot be written."""
    text = secrets.token_urlsafe(TOKEN_BYTES) + "\n"
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and not replace:
            raise Refused(f"{path} is there already", hint="--replace makes a new token instead")
        partial.unlink(missing_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise ConfigError(message, hint="name another file with --file") from error
