# SPDX-License-Identifier: MIT
"""
Composition root: a Config becomes objects, wired to one another, and is taken down again.

The only module that knows all packages. Verbs of the command line call ``Application``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.actions import Actions
from tgsyncd.assembly import (
    WallClock,
    build_engine,
    build_notifier,
    build_store,
    load_secret,
    make_private,
    pipeline_settings,
    process_limits,
    publish_settings,
    reconcile_uploads,
    release_rule,
    remove_orphans,
    server_settings,
    upload_limit,
)
from tgsyncd.catalog.catalog import Catalog
from tgsyncd.catalog.lock import CatalogLock
from tgsyncd.errors import ConfigError, NotFound, TgsyncdError
from tgsyncd.heap import give_back_what_is_freed
from tgsyncd.ingest.names import check_video_id
from tgsyncd.ingest.pipeline import Pipeline
from tgsyncd.ingest.publish import Publisher
from tgsyncd.ingest.release import Releaser
from tgsyncd.ingest.scan import find_videos
from tgsyncd.ingest.work import IngestOptions, IngestOutcome, Progress, Tools
from tgsyncd.playback.access import capability_for
from tgsyncd.playback.app import build_site
from tgsyncd.playback.keeping import KeepingStore
from tgsyncd.processes import TwistedProcessRunner
from tgsyncd.sockets import adopt_sockets
from tgsyncd.stores.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from twisted.internet.interfaces import IListeningPort

    from tgsyncd.config.libraries import Library
    from tgsyncd.config.schema import Config
    from tgsyncd.model import VideoId
    from tgsyncd.playback.site import ServerSite
    from tgsyncd.ports import Clock, Store

__all__ = [
    "Application",
    "CleanupReport",
    "DeleteOutcome",
    "Progress",
    "UploadOptions",
    "UploadOutcome",
    "WallClock",
]

_log = Logger()
_T = TypeVar("_T")

DELETE_BATCH = 100
"""Bot API deleteMessages takes at most 100 ids a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """What ``tgsyncd upload`` was told."""

    force: bool = False
    video_id: str | None = None
    library: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOutcome:
    """What became of one file: an outcome or an error."""

    path: Path
    outcome: IngestOutcome | None = None
    error: TgsyncdError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOutcome:
    """What ``delete`` did."""

    video_id: VideoId
    documents_deleted: int
    documents_owed: int
    """Not deleted yet: the store refused for now. ``tgsyncd cleanup`` asks again."""
    files_removed: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What ``cleanup`` did."""

    revisions_deleted: int
    documents_deleted: int
    documents_owed: int
    cache_rows_forgotten: int
    cached_segments_removed: int


class Application:
    """All objects of one tgsyncd, alive between ``open`` and ``close``."""

    def __init__(self, *, reactor: Any, config: Config, catalog: Catalog, store: Store, clock: Clock) -> None:
        self.config = config
        self.catalog = catalog
        self.store = store
        self._clock = clock
        self._reactor = reactor
        self._secret = load_secret(config.data_dir / "playback-secret")
        self.runner = TwistedProcessRunner(reactor, process_limits(config))
        self.notifier = build_notifier(config, reactor)
        self.publisher = Publisher(catalog, catalog, reactor, self.notifier, roots=self._publish_roots)
        self.engine = build_engine(config, reactor=reactor, catalog=catalog, store=store)
        tools = Tools(
            reactor=reactor,
            reader=catalog,
            writer=catalog,
            # What is read directly keeps no heads, and hashes its documents where they lie.
            store=KeepingStore(store, self.engine) if self.engine.verifies else store,
            before_publish=self.engine.pin_video,
            runner=self.runner,
            settings=pipeline_settings(config),
        )
        self.releaser = Releaser(tools, clock)
        self.pipeline = Pipeline(tools, self.publisher, self.releaser)
        self._ports: list[IListeningPort] = []
        self._site: ServerSite | None = None
        self.throttle: Throttle | None = None
        self.report_service: Callable[[], Mapping[str, Any]] | None = None
        """Set by ``tgsyncd run``: what ``/debug``, ``/readyz`` and ``/metrics`` tell beside the catalog."""

    @classmethod
    async def open(cls, reactor: Any, config: Config) -> Self:
        """
        Open the catalog and the store.

        Raises CatalogError, CatalogNewer, ConfigError, and TgsyncdError when ``data_dir`` cannot be used.
        """
        clock = WallClock(reactor)
        make_private(config.data_dir)
        catalog = await Catalog.open(config.catalog_path, reactor=reactor, clock=clock)
        try:
            throttle = Throttle(reactor, upload_limit(config, clock))
            store = build_store(config, reactor=reactor, catalog=catalog, clock=clock, throttle=throttle)
        except BaseException:
            await catalog.close()
            raise
        app = cls(reactor=reactor, config=config, catalog=catalog, store=store, clock=clock)
        app.throttle = throttle
        return app

    @property
    def answers_under_way(self) -> int:
        """How many requests are being answered."""
        return 0 if self._site is None else sum(each.is_answering for each in self._site.connections)

    @property
    def connection_count(self) -> int:
        """How many connections are open, also those that ask nothing now."""
        return 0 if self._site is None else len(self._site.connections)

    @property
    def is_watched(self) -> bool:
        """Whether somebody probably watches: a player keeps its connection between two segments."""
        return self.connection_count > 0

    async def stop_listening(self) -> None:
        """Take no more connections; those that are open go on."""
        ports, self._ports = self._ports, []
        for port in ports:
            await _wait(port.stopListening())

    async def close(self) -> None:
        """Stop listening, free the store, close the catalog."""
        await self.stop_listening()
        if self.notifier is not None:
            await self.notifier.close()
        await self.engine.close()
        await self.store.close()
        await self.catalog.close()

    async def upload(
        self,
        paths: Sequence[Path],
        *,
        options: UploadOptions,
        progress: Callable[[Progress], None],
        ended: Callable[[UploadOutcome], None] = lambda _outcome: None,
    ) -> Sequence[UploadOutcome]:
        """
        Ingest files and the videos in folders, one after the other; ``ended`` is told of each as it ends.

        A file that fails is an outcome with an error, and the rest of the batch goes on. Raises Refused
        while another process ingests: two would cut the same video into the same spool.
        """
        with CatalogLock(self.config.catalog_path):
            await self.recover()
            return await self._upload(paths, options, progress, ended)

    async def recover(self) -> None:
        """Clear away what a killed ingest left: its spool, and uploads whose answer it never saw."""
        spool = self.config.spool_dir
        await self._in_thread(lambda: shutil.rmtree(spool, ignore_errors=True))
        await self.catalog.forget_empty_videos()
        await reconcile_uploads(self.store, self.catalog)

    async def _upload(
        self,
        paths: Sequence[Path],
        options: UploadOptions,
        progress: Callable[[Progress], None],
        ended: Callable[[UploadOutcome], None],
    ) -> Sequence[UploadOutcome]:
        files = await self._in_thread(lambda: find_videos(paths))
        if options.video_id and len(files) != 1:
            raise ConfigError(f"--video-id names one video, and {len(files)} files were given")
        outcomes = []
        for path in files:
            try:
                outcome = await self.pipeline.ingest(path, self.ingest_options(path, options), progress)
            except TgsyncdError as error:
                outcomes.append(UploadOutcome(path=path, error=error))
            else:
                outcomes.append(UploadOutcome(path=path, outcome=outcome))
            ended(outcomes[-1])
        return outcomes

    def ingest_options(self, path: Path, options: UploadOptions) -> IngestOptions:
        """Return what the pipeline needs to know of one file: its library, and where it is published."""
        library = self._library(path, options.library)
        return IngestOptions(
            library=library.name if library else "",
            publish=publish_settings(self.config, library),
            url_for=self.playlist_url,
            release=release_rule(library, path),
            force=options.force,
            video_id=options.video_id,
        )

    def publish_root(self, library: str) -> Path:
        """Return the folder in which a library's videos are published."""
        known = self.config.library(library)
        return known.publish if known else self.config.publish_dir

    def _publish_roots(self) -> Collection[Path]:
        return {self.config.publish_dir, *(library.publish for library in self.config.libraries)}

    def playlist_url(self, video_id: VideoId) -> str:
        """Return the URL that players are given, with its capability where playback is signed."""
        return f"{self.public_url}{self._prefix(video_id)}/playlist/{video_id}.m3u8"

    def page_url(self, video_id: VideoId) -> str:
        """Return the URL of the page with a player."""
        return f"{self.public_url}{self._prefix(video_id)}/play/{video_id}"

    @property
    def public_url(self) -> str:
        """The first of ``server.public_urls``."""
        if not self.config.server.public_urls:
            raise ConfigError(
                "server.public_urls is empty",
                hint="name the address by which your players reach this machine, or give --host",
            )
        return self.config.server.public_urls[0]

    def strm_path(self, video_id: VideoId) -> Path | None:
        """Return where the video's ``.strm`` stands."""
        for path in self.catalog.published_files(video_id):
            if path.endswith(".strm"):
                return Path(path)
        return None

    async def delete_video(self, video_id: VideoId) -> DeleteOutcome:
        """
        Delete a video: what is published, its rows, its documents.

        In this order, so that a kill in between leaves no ``.strm`` that does not play, and no document
        that nobody knows of: rows become debts to the store in one transaction.
        """
        if self.catalog.video(check_video_id(video_id)) is None:
            raise NotFound(f"there is no video {video_id}", hint="tgsyncd list names them")
        files = await self.publisher.withdraw(video_id)
        await self.catalog.delete_video(video_id)
        deleted, owed = await self.settle_deletions()
        _log.info("{video_id}: deleted, with {deleted} documents", video_id=video_id, deleted=deleted)
        return DeleteOutcome(
            video_id=video_id, documents_deleted=deleted, documents_owed=owed, files_removed=tuple(files)
        )

    async def settle_deletions(self) -> tuple[int, int]:
        """Ask the store for the deletions owed to it; return how many were carried out and how many not."""
        deleted, refused = 0, 0
        while batch := self.catalog.owed_deletions(DELETE_BATCH + refused)[refused:]:
            left = await self.store.delete(batch)
            keep = {(ref.chat_id, ref.message_id, ref.file_unique_id) for ref in left}
            done = [ref for ref in batch if (ref.chat_id, ref.message_id, ref.file_unique_id) not in keep]
            await self.catalog.settle_deletions(done)
            deleted += len(done)
            refused += len(left)
        await remove_orphans(self.store, self.catalog)
        return deleted, refused

    async def cleanup(self, hours: float) -> CleanupReport:
        """Free what nobody needs: superseded revisions and cache rows older than this, debts to the store."""
        oldest_s = self._clock.now_s() - hours * 3600
        superseded = self.catalog.superseded_revisions(oldest_s)
        for video_id, number in superseded:
            await self.catalog.delete_revision(video_id, number)
        rows = await self.catalog.forget_cache_metadata(oldest_s)
        segments, _ = await self.engine.clean(oldest_s)
        deleted, owed = await self.settle_deletions()
        return CleanupReport(
            revisions_deleted=len(superseded),
            documents_deleted=deleted,
            documents_owed=owed,
            cache_rows_forgotten=rows,
            cached_segments_removed=segments,
        )

    async def listen(self, *, host: str, port: int, sockets: Sequence[int] = ()) -> int:
        """
        Serve on this address; return the port, which is a free one when 0 was asked for.

        ``sockets``, which systemd opened, win over the address.
        Raises ConfigError when the port is taken.
        """
        give_back_what_is_freed()
        # All threads now: none is started while somebody waits, and one more is a leak.
        threads = self._reactor.getThreadPool()
        threads.adjustPoolsize(threads.max, threads.max)
        endpoint = TCP4ServerEndpoint(self._reactor, port, interface=host)
        site = self._site = build_site(
            reactor=self._reactor,
            reader=self.catalog,
            engine=self.engine,
            settings=server_settings(self.config, self._secret),
            actions=Actions(self),
        )
        try:
            self._ports = adopt_sockets(self._reactor, sockets, site) or [await endpoint.listen(site)]
        except CannotListenError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.socketError.strerror}",
                hint="another tgsyncd, or another machine's address? See server.port (--port), server.listen",
            ) from error
        address = self._ports[0].getHost()
        assert isinstance(address, IPv4Address | IPv6Address)
        return address.port

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    def _library(self, path: Path, name: str | None) -> Library | None:
        if name is not None:
            library = self.config.library(name)
            if library is None:
                raise ConfigError(
                    f"there is no library {name!r}",
                    hint=f"known are: {', '.join(known.name for known in self.config.libraries) or 'none'}",
                )
            return library
        inside = [library for library in self.config.libraries if path.is_relative_to(library.source)]
        return max(inside, key=lambda library: len(library.source.parts), default=None)

    def _prefix(self, video_id: VideoId) -> str:
        if self.config.auth.playback != "signed":
            return ""
        video = self.catalog.video(video_id)
        generation = video.capability_generation if video else 0
        return f"/p/{capability_for(self._secret, video_id, generation)}"


async def _wait(result: object) -> None:
    if isinstance(result, Deferred):
        await result
