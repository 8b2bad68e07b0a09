# SPDX-License-Identifier: MIT
"""``tgsyncd serve``: serve stored videos to players until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from twisted.internet.defer import Deferred

from tgsyncd.cli.options import Source, choose_free_port, configured, serving_urls, set_public_urls

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application


@click.command("serve")
@click.option("--host", envvar="TGSYNCD_HOST", help="Address to listen on. [default: server.listen]")
@click.option("--port", type=int, envvar="TGSYNCD_PORT", help="Port to listen on. [default: server.port]")
@configured
def command(shell: Shell, source: Source, *, host: str | None, port: int | None) -> int:
    """
    Serve stored videos to players until Ctrl-C.

    Other machines reach the server by server.public_urls, or by the LAN addresses of this machine where
    none is configured.
    """
    extra: dict[tuple[str | int, ...], object] = {}
    if host is not None:
        extra["server", "listen"] = host
    if port is not None:
        extra["server", "port"] = port
    config = source.load(shell, extra).config
    listen = config.server.listen
    chosen = choose_free_port(listen, wanted=config.server.port, preferred=None)
    urls = serving_urls(shell, config, port=chosen)
    config = set_public_urls(config, urls)

    async def task(application: Application, _reactor: Any) -> int:
        port = await application.listen(host=listen, port=chosen)
        shell.note(f"listening on {listen}, port {port}; Ctrl-C stops")
        for url in urls:
            shell.say(f"{url}/test-jellyfin.m3u8")
        if config.auth.playback != "signed":
            shell.warn("playback is open: who reaches this address can play every video")
        await until_interrupted()
        return 0

    return shell.work(config, task)


async def until_interrupted() -> None:
    """Wait for ever; Ctrl-C cancels."""
    forever: Deferred[None] = Deferred()
    await forever
