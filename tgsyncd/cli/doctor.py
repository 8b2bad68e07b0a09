# SPDX-License-Identifier: MIT
"""``tgsyncd doctor``: check that this machine is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.app import FOUND_PROBLEMS
from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.config.hosts import choose_public_urls

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config
    from tgsyncd.maintenance.doctor import Examination

_MAX_BODY_BYTES = 4096
_WAIT_S = 10


@click.command("doctor")
@as_json
@configured
def command(shell: Shell, source: Source, *, json_output: bool) -> int:
    """
    Check this machine, and say how to put right what is not.

    Looks at ffmpeg and its codecs, the folders and their free space, the port, and whether
    server.public_urls lead here; at the address in a published .strm, and at Jellyfin, its API key and its
    libraries. With store.kind telegram also at every bot and chat: each bot stores, reads and deletes a
    small document. Changes nothing else. Exit code 10 when there is a problem.
    """
    config = source.load(shell).config
    urls = choose_public_urls(config.server.public_urls, shell.addresses(), port=config.server.port)

    async def main(reactor: Any) -> int:
        from tgsyncd.cli.jellyfin_checks import examine_jellyfin
        from tgsyncd.cli.telegram_checks import examine_telegram, finding_json, finding_lines
        from tgsyncd.maintenance.doctor import Level, examine
        from tgsyncd.maintenance.doctor_strm import check_strm
        from tgsyncd.processes import TwistedProcessRunner

        fetch = _Fetcher(reactor)
        runner = TwistedProcessRunner(reactor)
        what = _examination(config, urls)
        findings = [*await examine(what, reactor=reactor, runner=runner, fetch=fetch)]
        findings += await check_strm([*what.visible.values()], urls, reactor=reactor, fetch=fetch)
        findings += await examine_jellyfin(config, reactor=reactor)
        if config.store.kind == "telegram":
            findings += await examine_telegram(config, reactor=reactor, fetch=fetch)
        if json_output:
            shell.say_json([finding_json(shell, finding) for finding in findings])
        else:
            for line in (line for finding in findings for line in finding_lines(shell, finding)):
                shell.say(line)
        return FOUND_PROBLEMS if any(finding.level is Level.PROBLEM for finding in findings) else 0

    return shell.run(main, shell)


def _examination(config: Config, urls: tuple[str, ...]) -> Examination:
    from tgsyncd.formats.ffmpeg import HARDWARE_ENCODERS
    from tgsyncd.maintenance.doctor import SPARE_BYTES, Examination

    writable = {"data_dir": config.data_dir, "cache_dir": config.cache_dir}
    if config.store.kind == "directory":
        writable["store.directory"] = config.store_dir
    visible = {f"libraries[{library.name}].publish": library.publish for library in config.libraries}
    visible["publish.directory"] = config.publish_dir
    writable.update(visible)
    return Examination(
        encoder=HARDWARE_ENCODERS[config.video.encoder],
        writable=writable,
        readable={f"libraries[{library.name}].source": library.source for library in config.libraries},
        visible=visible,
        room={"data_dir": (config.data_dir, config.spool.max_bytes + SPARE_BYTES)},
        listen=config.server.listen,
        port=config.server.port,
        public_urls=urls,
    )


class _Fetcher:
    """GET over real HTTP, as a player does it."""

    def __init__(self, reactor: Any) -> None:
        from twisted.web.client import Agent

        # Not treq's client: it refuses IPv6 addresses in URLs.
        self._agent = Agent(reactor, connectTimeout=5.0)
        self._reactor = reactor

    async def __call__(self, url: str) -> tuple[int, bytes]:
        from treq.content import collect

        from tgsyncd.errors import TgsyncdError

        chunks: list[bytes] = []

        def keep(chunk: bytes) -> None:
            if sum(map(len, chunks)) < _MAX_BODY_BYTES:
                chunks.append(chunk)

        try:
            answer = self._agent.request(b"GET", url.encode()).addTimeout(_WAIT_S, self._reactor)
            response = await answer
            await collect(response, keep).addTimeout(_WAIT_S, self._reactor)
        except Exception as error:
            # Twisted, TLS and DNS each have their own; all of them mean that nobody answers.
            raise TgsyncdError(str(error) or type(error).__name__) from error
        return response.code, b"".join(chunks)
