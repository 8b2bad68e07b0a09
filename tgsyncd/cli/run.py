# SPDX-License-Identifier: MIT
"""``tgsyncd run``: the daemon."""

from __future__ import annotations

import gc
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import click
from twisted.internet.defer import CancelledError

from tgsyncd.cli.options import Source, choose_free_port, configured, serving_urls, set_public_urls
from tgsyncd.cli.runner import Interrupted
from tgsyncd.cli.serve import until_interrupted

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config

STOP_S = 9.5
"""A stop that takes longer is ended: what was acknowledged is on the disk. systemd would wait for 30 s."""


@click.command("run")
@click.option("--host", envvar="TGSYNCD_HOST", help="Address to listen on. [default: server.listen]")
@click.option("--port", type=int, envvar="TGSYNCD_PORT", help="Port to listen on. [default: server.port]")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json", "journal"]),
    default="auto",
    show_default=True,
    help="Lines for people, JSON objects, or lines with priorities for systemd's journal.",
)
@configured
def command(shell: Shell, source: Source, *, host: str | None, port: int | None) -> int:
    """
    Watch the source folders, store what is new, publish it, and serve players: until SIGTERM.

    Playback URLs are signed unless auth.playback says open. One daemon at a time works on a catalog. SIGHUP
    reads the configuration again.
    """
    from tgsyncd.notify import Notifier
    from tgsyncd.sockets import port_of, take_sockets

    notifier = Notifier.from_environ(shell.environ)
    sockets = take_sockets(shell.environ)
    extra: dict[tuple[str | int, ...], object] = {}
    if host is not None:
        extra["server", "listen"] = host
    if port is not None:
        extra["server", "port"] = port

    def load() -> Config:
        config = source.load(shell, extra).config
        if config.auth.playback == "auto":
            config = config.model_copy(update={"auth": config.auth.model_copy(update={"playback": "signed"})})
        return config

    config = load()
    listen = config.server.listen
    chosen = (
        port_of(sockets[0])
        if sockets
        else choose_free_port(listen, wanted=config.server.port, preferred=None)
    )
    urls = serving_urls(shell, config, port=chosen)

    async def main(reactor: Any) -> int:
        # Imported here: it imports everything, and the reactor is installed now.
        from tgsyncd.service.reload import reload_on_sighup
        from tgsyncd.service.service import Service

        service = await Service.open(reactor, set_public_urls(config, urls), notifier=notifier)
        _spare_the_collector()
        try:
            await service.start(host=listen, port=chosen, sockets=sockets)
            shell.note(f"players are given {urls[0]}; libraries: {len(config.libraries)}")
            reload_on_sighup(service, lambda: set_public_urls(load(), urls), reactor=reactor)
            await until_interrupted()
        except CancelledError:
            _end_in(STOP_S)
            raise
        finally:
            await service.stop()
        return 0

    try:
        return shell.run(main, shell)
    except Interrupted as end:
        return 0 if end.exit_code == 128 + signal.SIGTERM else end.exit_code


def _spare_the_collector() -> None:
    """
    Have Python's garbage collector pass over what is loaded by now, and stays.

    It looks at 100,000 objects otherwise, which stops the reactor for 50 to 80 ms each time.
    """
    gc.collect()
    gc.freeze()


def _end_in(seconds: float) -> None:
    """End the process then, wherever it hangs: a thread that reads from a dead file server ends never."""
    timer = threading.Timer(seconds, os._exit, args=(128 + signal.SIGTERM,))
    timer.daemon = True
    timer.start()
