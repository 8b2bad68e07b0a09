# SPDX-License-Identifier: MIT
"""``tgsyncd demo``: everything at work on one video, with a directory store, in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.app import FOUND_PROBLEMS
from tgsyncd.cli.options import choose_free_port, set_public_urls
from tgsyncd.cli.progress import progress_view
from tgsyncd.cli.serve import until_interrupted
from tgsyncd.cli.upload import show_outcome
from tgsyncd.config.hosts import check_public_host, choose_lan_addresses, is_loopback, render_url
from tgsyncd.config.load import load_config
from tgsyncd.errors import FfmpegError
from tgsyncd.formats.comparison import (
    build_clip_argv,
    build_decode_argv,
    build_file_packets_argv,
    build_url_packets_argv,
    compare,
    summarise_packets,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config
    from tgsyncd.daemon import Application
    from tgsyncd.model import VideoId
    from tgsyncd.ports import ProcessRunner

_CLIP_S = 20
# Probing takes a second and decoding goes faster than playing; an hour lets a whole film through.
_WALL_LIMIT_S = 3600.0


@click.command("demo")
@click.option("--video", type=click.Path(path_type=Path), help="Video to show. [default: a test picture]")
@click.option("--once", is_flag=True, help="Play it back, compare it with the source, and stop.")
@click.option("--host", help="Address for the URLs. [default: a LAN address of this machine]")
@click.option("--port", type=int, help="Port to listen on. [default: 8080, or another that is free]")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("demo-data"),
    show_default=True,
    help="Folder for everything that the demo writes. Delete it when you have seen enough.",
)
@click.option("-v", "--verbose", count=True, help="Log more: -v what happens, -vv everything.")
@click.pass_obj
def command(
    shell: Shell,
    *,
    video: Path | None,
    once: bool,
    host: str | None,
    port: int | None,
    folder: Path,
    verbose: int,
) -> int:
    """
    Show everything at work on one video, without Telegram.

    The video is probed, cut, stored in a folder, read back, published and served. The addresses to open
    in VLC, Jellyfin or a browser are printed, and the server runs until Ctrl-C. With --once the result is
    played back by ffmpeg and compared with the source; the exit code is 10 when they differ.

    Your configuration is not read, and nothing is written outside the folder.
    """
    shell.begin_log(shell, verbose)
    folder = shell.folder / folder
    config = _demo_config(shell, folder, host=host, port=port, once=once)

    async def task(application: Application, _reactor: Any) -> int:
        source = shell.folder / video if video else await _make_clip(folder, application.runner)
        outcome = await _upload(shell, application, source)
        if isinstance(outcome, int):
            return outcome
        await application.listen(host=config.server.listen, port=config.server.port)
        if once:
            return await _play_back(shell, application, source, outcome)
        shell.say(f"  page      {application.page_url(outcome)}")
        shell.say("Open the playlist in VLC, mpv or Jellyfin, or the page in a browser. Ctrl-C stops.")
        await until_interrupted()
        return 0

    return shell.work(config, task)


def _demo_config(shell: Shell, folder: Path, *, host: str | None, port: int | None, once: bool) -> Config:
    loaded = load_config(
        None,
        environ={},
        flags={
            ("data_dir",): folder / "data",
            ("cache_dir",): folder / "cache",
            ("store", "directory"): folder / "store",
            ("publish", "directory"): folder / "library",
        },
        home=shell.home,
        folder=shell.folder,
    )
    name = host or _demo_host(shell, once=once)
    is_local = is_loopback(name)
    if not is_local:
        check_public_host(name, shell.addresses(), option="--host")
    elif not once:
        shell.warn(f"only this machine can open {name}")
    # What only this machine can open need not be offered to others.
    listen = "127.0.0.1" if is_local else "0.0.0.0"  # noqa: S104
    chosen = choose_free_port(listen, wanted=port, preferred=None if once else 8080)
    server = loaded.config.server.model_copy(update={"listen": listen, "port": chosen})
    config = loaded.config.model_copy(update={"server": server})
    return set_public_urls(config, (render_url(name, chosen),))


def _demo_host(shell: Shell, *, once: bool) -> str:
    found = [address for address in choose_lan_addresses(shell.addresses()) if ":" not in address]
    return "127.0.0.1" if once or not found else found[0]


async def _make_clip(folder: Path, runner: ProcessRunner) -> Path:
    path = folder / "source" / "tgsyncd-demo.mp4"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    argv = build_clip_argv(unfinished, duration_s=_CLIP_S)
    result = await runner.run(argv, wall_limit_s=300.0)
    if result.exit_code:
        message = f"ffmpeg could not make the test picture: {result.stderr_tail.strip()}"
        raise FfmpegError(message, hint="tgsyncd doctor says what is missing")
    return unfinished.rename(path)


async def _upload(shell: Shell, application: Application, source: Path) -> VideoId | int:
    """Return the video's id, or the exit code of what went wrong."""
    from tgsyncd.daemon import UploadOptions
    from tgsyncd.service.handing import outcome_json

    with progress_view(shell, quiet=False) as view:
        outcomes = await application.upload([source], options=UploadOptions(), progress=view)
    for each in outcomes:
        show_outcome(shell, outcome_json(application, each))
        if each.error is not None:
            return each.error.exit_code
        if each.outcome is not None:
            return each.outcome.video_id
    return 0


async def _play_back(shell: Shell, application: Application, source: Path, video_id: VideoId) -> int:
    runner, url = application.runner, application.playlist_url(video_id)
    stored = summarise_packets(await _output_of(runner, build_file_packets_argv(source)))
    played = summarise_packets(await _output_of(runner, build_url_packets_argv(url)))
    decoded = await runner.run(build_decode_argv(url), wall_limit_s=_WALL_LIMIT_S)
    problems = list(compare(stored, played))
    if decoded.exit_code or decoded.stderr_tail.strip():
        problems.append(f"ffmpeg complained: {decoded.stderr_tail.strip() or decoded.exit_code}")
    return _show_verdict(shell, problems, f"{played.frames} frames, {played.length_s:.3f} s")


def _show_verdict(shell: Shell, problems: Sequence[str], what: str) -> int:
    for problem in problems:
        shell.note(f"error: {problem}")
    if not problems:
        shell.say(f"played back over HTTP: {what}, the same as the source")
    return FOUND_PROBLEMS if problems else 0


async def _output_of(runner: ProcessRunner, argv: Sequence[str]) -> str:
    result = await runner.run(argv, wall_limit_s=_WALL_LIMIT_S)
    if result.exit_code:
        message = f"{argv[0]} failed: {result.stderr_tail.strip()}"
        raise FfmpegError(message)
    return result.stdout.decode("utf-8", "replace")
