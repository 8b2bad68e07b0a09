# SPDX-License-Identifier: MIT
"""A shell whose output is kept, whose application is a fake, and which needs no reactor."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.fakes.scripted_asker import ScriptedAsker
from tgsyncd.cli.app import run_command_line
from tgsyncd.cli.shell import Shell
from tgsyncd.config.hosts import InterfaceAddress
from tgsyncd.daemon import CleanupReport, DeleteOutcome, UploadOutcome
from tgsyncd.errors import NotFound
from tgsyncd.ingest.pipeline import IngestOutcome, Progress
from tgsyncd.model import CatalogStats

LAN = (
    InterfaceAddress(interface="lo", address="127.0.0.1"),
    InterfaceAddress(interface="eth0", address="192.168.1.100"),
)


def run_without_reactor(main, _shell):
    """Drive a coroutine that never really waits."""
    results = []
    work = Deferred.fromCoroutine(main(None))
    work.addBoth(results.append)
    assert results, "the coroutine waits for something that the fake does not give"
    if isinstance(results[0], Failure):
        raise results[0].value
    return results[0]


@dataclass
class FakeCatalog:
    """What ``list`` and ``db-stats`` read."""

    stored: list = field(default_factory=list)

    def videos(self):
        return self.stored

    async def close(self):
        pass

    def stats(self):
        return CatalogStats(
            schema_version=1,
            videos=2,
            videos_by_status={"active": 2},
            revisions=2,
            renditions=2,
            segments=1200,
            documents=61,
            stored_bytes=1_200_000_000,
            deletions_owed=0,
            intents_open=0,
            file_bytes=4096,
            free_bytes=0,
        )


@dataclass
class FakeApplication:
    """``daemon.Application`` as far as the verbs use it."""

    config: object = None
    catalog: FakeCatalog = field(default_factory=FakeCatalog)
    errors: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    is_open: bool = False

    async def upload(self, paths, *, options, progress, ended=lambda _: None):
        self.calls.append(("upload", list(paths), options))
        outcomes = []
        for path in paths:
            progress(Progress(video_id=None, path=path, stage="probe"))
            progress(
                Progress(video_id=None, path=path, stage="store", position_s=5, duration_s=10, cut_bytes=1000)
            )
            if path.name in self.errors:
                outcomes.append(UploadOutcome(path=path, error=self.errors[path.name]))
            else:
                outcome = IngestOutcome(
                    path=path,
                    video_id=path.stem,
                    action="stored",
                    strm=Path("/lib") / f"{path.stem}.strm",
                    stored_bytes=1000,
                    notes=("pgs subtitle is left out: it is a picture",),
                )
                outcomes.append(UploadOutcome(path=path, outcome=outcome))
            ended(outcomes[-1])
        return outcomes

    def playlist_url(self, video_id):
        return f"{self.config.server.public_urls[0]}/playlist/{video_id}.m3u8"

    async def delete_video(self, video_id):
        if video_id in self.errors:
            raise NotFound(f"there is no video {video_id}", hint="tgsyncd list names them")
        return DeleteOutcome(
            video_id=video_id, documents_deleted=3, documents_owed=1, files_removed=(Path("/lib/a.strm"),)
        )

    async def cleanup(self, hours):
        self.calls.append(("cleanup", hours))
        return CleanupReport(
            revisions_deleted=1,
            documents_deleted=2,
            documents_owed=0,
            cache_rows_forgotten=4,
            cached_segments_removed=5,
        )

    async def close(self):
        self.is_open = False


class Commands:
    """Runs command lines and keeps what they print."""

    def __init__(self, folder: Path) -> None:
        self.application = FakeApplication()
        self.environ: dict[str, str] = {}
        self.addresses = LAN
        self.folder = folder
        self.run = run_without_reactor
        self.asker = ScriptedAsker(is_there=False)
        self.out = self.err = ""
        self.log_levels: list[int] = []

    def __call__(self, *arguments: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        shell = Shell(
            out=Console(file=out, width=80),
            err=Console(file=err, width=80),
            environ=self.environ,
            home=self.folder,
            folder=self.folder,
            run=self.run,
            asker=self.asker,
            open_application=self._open,
            open_catalog=self._open_catalog,
            begin_log=lambda _, level: self.log_levels.append(level),
            addresses=lambda: self.addresses,
        )
        code = run_command_line(arguments, shell)
        self.out, self.err = out.getvalue(), err.getvalue()
        return code

    async def _open_catalog(self, _reactor, config):
        self.application.config = config
        return self.application.catalog

    async def _open(self, _reactor, config):
        self.application.config = config
        self.application.is_open = True
        return self.application
