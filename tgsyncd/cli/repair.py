# SPDX-License-Identifier: MIT
"""``tgsyncd repair``: mend what a check finds, as far as it can be derived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tgsyncd.cli.check import examine
from tgsyncd.cli.options import Source, as_json, configured

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell


@click.command("repair")
@click.option("--read", is_flag=True, help="Read every document back from the store and compare it.")
@click.option("--video-id", help="Mend this video only.")
@as_json
@configured
def command(shell: Shell, source: Source, *, read: bool, video_id: str | None, json_output: bool) -> int:
    """
    Check as `tgsyncd check` does, and mend what can be derived.

    Published files are written again from catalog and store; a video whose documents are missing or damaged
    is stored again from its source file, if that still stands there unchanged. Nothing else is touched.
    Exit code 10 when something is left.
    """
    return examine(shell, source, "repair", {"read": read, "video_id": video_id}, json_output=json_output)
