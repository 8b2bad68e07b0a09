# SPDX-License-Identifier: MIT
"""Options that several verbs share, and how they become a ``Config``."""

from __future__ import annotations

import contextlib
import functools
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tgsyncd.cli.logs import begin_service_log
from tgsyncd.config.hosts import check_public_host, choose_public_urls, explain_unreachable, render_url
from tgsyncd.config.load import Loaded, find_config, load_config
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.problems import Location
    from tgsyncd.config.schema import Config

_F = TypeVar("_F", bound="Callable[..., Any]")

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON instead of text.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the configuration comes from, as the command line says."""

    path: Path | None
    flags: Mapping[Location, object]
    is_token_visible: bool

    def load(self, shell: Shell, extra: Mapping[Location, object] | None = None) -> Loaded:
        """
        Read the configuration and print its warnings.

        Raises
            ConfigError with every problem found.
        """
        loaded = load_config(
            self.path or find_config(shell.home),
            environ=shell.environ,
            flags={**self.flags, **(extra or {})},
            home=shell.home,
            folder=shell.folder,
            addresses=shell.addresses,
        )
        shell.redactor.add(*loaded.secrets)
        for warning in loaded.warnings:
            shell.warn(warning)
        if self.is_token_visible:
            shell.warn(
                "every user of this machine can see a token on the command line (ps); "
                "use token_file in the configuration or TGSYNCD_BOT_TOKEN"
            )
        return loaded


def configured(function: _F) -> _F:
    """Add the options that every verb with a configuration has; the verb gets ``shell`` and ``source``."""

    @click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar="TGSYNCD_CONFIG",
        help="Configuration file. [default: ~/.config/tgsyncd/tgsyncd.yaml, else "
        "/etc/tgsyncd/tgsyncd.yaml, else defaults]",
    )
    @click.option(
        "--bot-token",
        multiple=True,
        envvar="TGSYNCD_BOT_TOKEN",
        metavar="TOKEN",
        help="Token of a Telegram bot; others can see it in the process list. Repeat for several bots.",
    )
    @click.option(
        "--chat-id",
        multiple=True,
        type=int,
        envvar="TGSYNCD_CHAT_ID",
        help="Chat that holds the documents. Repeat for several chats.",
    )
    @click.option("-v", "--verbose", count=True, help="Log more: -v what happens, -vv everything.")
    @functools.wraps(function)
    def wrapper(
        config_path: Path | None,
        bot_token: tuple[str, ...],
        chat_id: tuple[int, ...],
        verbose: int,
        **rest: Any,
    ) -> Any:
        context = click.get_current_context()
        shell: Shell = context.obj
        shell.redactor.add(*bot_token)
        # Read already; a child process shall not inherit it.
        shell.environ.pop("TGSYNCD_BOT_TOKEN", None)
        if "log_format" in rest:
            # A daemon's log is for its owner's journal.
            begin_service_log(shell, verbose, rest.pop("log_format"))
        else:
            shell.begin_log(shell, verbose)
        given = context.get_parameter_source("bot_token")
        source = Source(
            path=shell.folder / config_path.expanduser() if config_path else None,
            flags=_telegram_flags(bot_token, chat_id),
            is_token_visible=given is click.core.ParameterSource.COMMANDLINE,
        )
        return function(shell, source, **rest)

    return cast("_F", wrapper)


def with_public_urls(shell: Shell, loaded: Loaded, *, host: str | None) -> Config:
    """
    Return the configuration with ``server.public_urls``: by ``--host``, as configured, or as found.

    Raises
        ConfigError when no other machine could open the URL; it names the LAN addresses found.
    """
    config, own = loaded.config, shell.addresses()
    port = config.server.port
    if host is not None and "://" in host:
        urls: tuple[str, ...] = choose_public_urls((host.rstrip("/"),), own, port=port)
    elif host is not None:
        name, given_port = split_host(host)
        check_public_host(name, own, option="--host")
        urls = (render_url(name, given_port or port),)
    else:
        urls = choose_public_urls(config.server.public_urls, own, port=port)
    return set_public_urls(config, urls)


def serving_urls(shell: Shell, config: Config, *, port: int) -> tuple[str, ...]:
    """Return the URLs of a server that listens as configured, even one that only this machine reaches."""
    listen = config.server.listen
    if config.server.public_urls:
        return choose_public_urls(config.server.public_urls, shell.addresses(), port=port)
    if listen in {"0.0.0.0", "::", ""}:  # noqa: S104  compared, not bound
        return choose_public_urls((), shell.addresses(), port=port)
    if explain_unreachable(listen) is not None:
        shell.warn(f"only this machine can play: the server listens on {listen}")
    return (render_url(listen, port),)


def set_public_urls(config: Config, urls: tuple[str, ...]) -> Config:
    """Return the configuration with other public URLs."""
    server = config.server.model_copy(update={"public_urls": urls})
    return config.model_copy(update={"server": server})


def choose_free_port(listen: str, *, wanted: int | None, preferred: int | None) -> int:
    """
    Return a port for URLs that are written before the server listens.

    ``wanted`` is taken as it is unless it is 0; else ``preferred`` if it is free, else any free one.
    """
    if wanted:
        return wanted
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    for port in (preferred or 0, 0):
        with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            # As the server does it: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen, port))
            return int(probe.getsockname()[1])
    raise ConfigError(f"{listen} is not an address of this machine", hint="see: ip address")


def split_host(text: str) -> tuple[str, int | None]:
    """Split ``192.168.1.5:8080``, ``[fd00::1]:80`` or a bare host into host and port."""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        return name, _port(port.removeprefix(":"), text) if port else None
    if text.count(":") == 1:
        name, _, port = text.partition(":")
        return name, _port(port, text)
    return text, None


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65_535):
        message = f"{whole!r} is not a host, or a host and a port"
        raise click.BadParameter(message, param_hint="--host")
    return int(text)


def _telegram_flags(tokens: tuple[str, ...], chats: tuple[int, ...]) -> Mapping[Location, object]:
    flags: dict[Location, object] = {}
    if tokens:
        flags["telegram", "bots"] = [{"token": token} for token in tokens]
    if chats:
        flags["telegram", "chats"] = list(chats)
    if flags:
        flags["store", "kind"] = "telegram"
    return flags


__all__ = [
    "Source",
    "as_json",
    "choose_free_port",
    "configured",
    "serving_urls",
    "set_public_urls",
    "split_host",
    "with_public_urls",
]
