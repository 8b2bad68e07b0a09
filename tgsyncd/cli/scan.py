# SPDX-License-Identifier: MIT
"""``tgsyncd scan``: look through the source folders now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.handing import find_daemon
from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config
    from tgsyncd.ingest.outlook import Foreseen


@click.command("scan")
@as_json
@configured
def command(shell: Shell, source: Source, *, json_output: bool) -> int:
    """
    Let the running daemon look through the source folders now.

    Without a daemon nothing is stored: what a scan would find, and what it would do, is listed.
    """
    config = source.load(shell).config
    if not config.libraries:
        raise ConfigError("no libraries are configured", hint="add one to libraries in the configuration")
    daemon = find_daemon(config.data_dir)
    if daemon is None:
        return _list(shell, config, json_output=json_output)
    report = daemon.ask("/scan", {})
    if json_output:
        shell.say_json(report)
    else:
        shell.say(str(report["last_result"]))
    return 1 if report["last_failed"] else 0


def _list(shell: Shell, config: Config, *, json_output: bool) -> int:
    async def task(catalog: Catalog | None, reactor: Any) -> int:
        foreseen = await _foresee(catalog, config, reactor)
        if json_output:
            shell.say_json({library: [dataclasses.asdict(each) for each in found]
                            for library, found in foreseen.items()})  # fmt: skip
            return 0
        shell.note("no daemon runs: this is what a scan would do")
        for library, found in foreseen.items():
            shell.say(f"{library}: {len(found) or 'nothing'} to do")
            for each in found:
                shell.say(f"  {printable(each.path)}: {each.words}")
        return 0

    return shell.look(config, task)


async def _foresee(catalog: Catalog | None, config: Config, reactor: Any) -> Mapping[str, Sequence[Foreseen]]:
    from twisted.internet.threads import deferToThread

    from tgsyncd.ingest.folders import walk_folder
    from tgsyncd.ingest.outlook import foresee
    from tgsyncd.service.watcher import walk_rules

    known = [] if catalog is None else list(await catalog.known_sources())
    scan = config.scan
    foreseen = {}
    for library in config.libraries:
        walk = await deferToThread(walk_folder, library.source, walk_rules(config))
        foreseen[library.name] = foresee(
            walk,
            known,
            now_s=reactor.seconds(),
            rest_s=scan.rest,
            wait_for_holes=scan.holes == "wait",
            on_source_removed=scan.on_source_removed,
        )
    return foreseen
