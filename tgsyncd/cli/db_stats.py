# SPDX-License-Identifier: MIT
"""``tgsyncd db-stats``: what the catalog holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import render_bytes
from tgsyncd.errors import NotFound

if TYPE_CHECKING:
    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.cli.shell import Shell
    from tgsyncd.model import CatalogStats


@click.command("db-stats")
@as_json
@configured
def command(shell: Shell, source: Source, *, json_output: bool) -> int:
    """Show what the catalog holds: videos, segments, documents, bytes."""
    config = source.load(shell).config

    async def task(catalog: Catalog | None, _reactor: Any) -> int:
        if catalog is None:
            raise NotFound(f"there is no catalog {config.catalog_path}", hint="tgsyncd upload makes one")
        stats = catalog.stats()
        if json_output:
            shell.say_json(stats_json(stats))
            return 0
        for name, value in stats_json(stats).items():
            text = render_bytes(value) if name.endswith("bytes") and isinstance(value, int) else value
            if isinstance(text, dict):
                text = ", ".join(f"{count} {status}" for status, count in text.items()) or "none"
            shell.say(f"{name.replace('_', ' ')}: {text}")
        return 0

    return shell.look(config, task)


def stats_json(stats: CatalogStats) -> dict[str, object]:
    """Return the statistics as JSON."""
    return {
        "schema_version": stats.schema_version,
        "videos": stats.videos,
        "videos_by_status": dict(stats.videos_by_status),
        "revisions": stats.revisions,
        "renditions": stats.renditions,
        "segments": stats.segments,
        "documents": stats.documents,
        "stored_bytes": stats.stored_bytes,
        "deletions_owed": stats.deletions_owed,
        "intents_open": stats.intents_open,
        "catalog_file_bytes": stats.file_bytes,
        "catalog_free_bytes": stats.free_bytes,
    }
