# SPDX-License-Identifier: MIT
"""What each package is told, made from the configuration; and the store that the configuration names."""

from __future__ import annotations

import datetime as dt
import os
import random
import secrets
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tgsyncd.catalog.rows import CacheUse
from tgsyncd.config.upload import limit_at
from tgsyncd.errors import ConfigError, StoreUnavailable, TgsyncdError
from tgsyncd.formats.ffmpeg import EncoderSettings
from tgsyncd.ingest.plan import PlanOptions
from tgsyncd.ingest.publish import PublishSettings
from tgsyncd.ingest.verify import Verify
from tgsyncd.ingest.work import PipelineSettings, ReleaseRule
from tgsyncd.jellyfin.client import JellyfinClient, build_client
from tgsyncd.jellyfin.notifier import JellyfinNotifier
from tgsyncd.jellyfin.settings import JellyfinSettings, PathMapping
from tgsyncd.playback.engine import CacheSettings, Engine
from tgsyncd.playback.settings import AuthMode, ServerSettings
from tgsyncd.processes import ProcessLimits
from tgsyncd.stores.directory import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.catalog.rows import Intent
    from tgsyncd.config.libraries import Library
    from tgsyncd.config.schema import Config
    from tgsyncd.model import DocumentLabel, DocumentRef
    from tgsyncd.playback.uses import SegmentUse
    from tgsyncd.ports import Clock, Store
    from tgsyncd.stores.telegram.reconciling import Reconciled
    from tgsyncd.stores.telegram.settings import TelegramSettings
    from tgsyncd.stores.telegram.store import TelegramStore
    from tgsyncd.stores.throttle import Throttle

__all__ = [
    "WallClock",
    "build_engine",
    "build_notifier",
    "build_store",
    "jellyfin_settings",
    "load_secret",
    "make_private",
    "pipeline_settings",
    "process_limits",
    "publish_settings",
    "reconcile_uploads",
    "release_rule",
    "remove_orphans",
    "server_settings",
    "telegram_settings",
    "upload_limit",
]


_log = Logger()

SECRET_BYTES = 32


@runtime_checkable
class Reconciling(Protocol):
    """A store whose ``put`` is not idempotent and that finds again what was lost."""

    async def reconcile(
        self,
        intents: Sequence[Intent],
        *,
        is_wanted: Callable[[DocumentLabel], bool],
    ) -> Reconciled:
        """Find what became of uploads that have no answer."""
        ...


@runtime_checkable
class Tidying(Protocol):
    """A store that knows by a label where the document would be."""

    async def remove_orphans(
        self, intents: Sequence[Intent], *, is_wanted: Callable[[DocumentLabel], bool]
    ) -> int:
        """Remove what was stored, never recorded, and will not be stored again; return how many."""
        ...


class WallClock:
    """``ports.Clock``: what the owner's clock shows, which NTP may set. A simulated reactor has its own."""

    def __init__(self, reactor: Any) -> None:
        self._now_s: Callable[[], float] = getattr(reactor, "now_s", time.time)  # noqa: TID251 - the one place

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        return self._now_s()


def process_limits(config: Config) -> ProcessLimits:
    """Return what ffmpeg and ffprobe may use."""
    # CUDA reserves the address space of the whole GPU: a limit would make NVENC fail at once.
    limit = None if config.video.encoder == "nvenc" else config.ffmpeg.memory_bytes
    return ProcessLimits(address_space_bytes=limit)


def pipeline_settings(config: Config) -> PipelineSettings:
    """Return how videos are ingested."""
    video = config.video
    return PipelineSettings(
        spool_root=config.spool_dir,
        # Shared by the videos that are stored at once. Below three documents of 19.9 MB cutting would wait
        # for each upload.
        spool_bytes=max(64_000_000, config.spool.max_bytes // config.ingest.parallel),
        verify=Verify(config.verify),
        plan=PlanOptions(
            video_mode=video.mode,
            hardware=video.encoder,
            # Each of x264's threads takes memory: 16 of them exceed the limit of 4 GiB at 2160p.
            threads=video.threads or min(os.cpu_count() or 1, 8),
            segment_target_s=config.segments.target_s,
            limits=config.pack_limits,
        ),
        encoder=EncoderSettings(preset=video.preset, quality=video.crf, vaapi_device=video.device),
    )


def server_settings(config: Config, secret: bytes) -> ServerSettings:
    """Return how players are served."""
    auth, server = config.auth, config.server
    return ServerSettings(
        public_urls=server.public_urls,
        allowed_hosts=server.allowed_hosts,
        trusted_proxies=server.trusted_proxies,
        max_connections=server.max_connections,
        max_connections_per_address=server.max_connections_per_address,
        auth=AuthMode.SIGNED if auth.playback == "signed" else AuthMode.OPEN,
        admin_token=auth.admin_token.get_secret_value() if auth.admin_token else None,
        capability_secret=secret,
    )


def load_secret(path: Path) -> bytes:
    """Return the secret that signs playback URLs; make it at the first start, readable by us alone."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return bytes.fromhex(path.read_text())
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return bytes.fromhex(path.read_text())


def make_private(folder: Path) -> None:
    """Make the folder for us alone. Raises TgsyncdError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise TgsyncdError(
            f"the data folder {folder} cannot be made: {error.strerror}",
            hint="choose another data_dir, or make it and give it to tgsyncd's user",
        ) from error


def upload_limit(config: Config, clock: Clock) -> Callable[[], float | None]:
    """Return what tells how many bytes a second uploads may take now."""
    return lambda: limit_at(config.upload, dt.datetime.fromtimestamp(clock.now_s()).astimezone())


def build_store(config: Config, *, reactor: Any, catalog: Catalog, clock: Clock, throttle: Throttle) -> Store:
    """Return the store that the configuration names."""
    if config.store.kind == "directory":
        return DirectoryStore(config.store_dir, reactor, intents=catalog, throttle=throttle)
    return _build_telegram_store(config, reactor, catalog, clock, throttle)


@runtime_checkable
class AskedAhead(Protocol):
    """A store that answers sooner when it is told what comes."""

    def prefetch(self, ref: DocumentRef) -> None:
        """Get ready for this document."""
        ...


@runtime_checkable
class MayBeDown(Protocol):
    """A store that is somewhere else."""

    def outage(self) -> tuple[float, str] | None:
        """Return since when (seconds since the epoch) it does not answer, and why; None while it does."""
        ...

    async def probe(self) -> None:
        """Ask once whether it answers now. Never raises."""
        ...


def build_engine(config: Config, *, reactor: Any, catalog: Catalog, store: Store) -> Engine:
    """Return what plays. A store on a local disk is read directly: a cache would only copy it."""
    cache = None
    if config.store.kind != "directory":
        cache = CacheSettings(
            folder=config.cache_dir,
            memory_bytes=config.cache.memory_bytes,
            memory_ttl_s=config.cache.memory_duration,
            disk_bytes=config.cache.disk_bytes,
            heads_bytes=config.cache.heads_bytes,
            ahead_s=config.cache.ahead_duration,
        )

    async def record(uses: Sequence[SegmentUse]) -> None:
        await catalog.record_cache_use([CacheUse(**asdict(use)) for use in uses])

    return Engine(
        catalog,
        store,
        reactor,
        cache=cache,
        ask_ahead=store.prefetch if isinstance(store, AskedAhead) else None,
        record_uses=record,
        clock=WallClock(reactor),
    )


def publish_settings(config: Config, library: Library | None) -> PublishSettings:
    """Return where and how the videos of a library are published, or those that belong to none."""
    common = PublishSettings(
        root=config.publish_dir,
        file_mode=config.publish.file_mode,
        directory_mode=config.publish.dir_mode,
        group=config.publish.group,
        follow=config.scan.on_source_renamed == "follow",
    )
    if library is None:
        return common
    return replace(
        common,
        root=library.publish,
        source_root=library.source,
        names=library.names,
        kind=library.kind,
        nfo=library.nfo,
    )


def release_rule(library: Library | None, source: Path) -> ReleaseRule | None:
    """Return what becomes of a source file when its video is published; None: it stays."""
    if library is None or library.after_publish == "keep" or not source.is_relative_to(library.source):
        return None
    return ReleaseRule(action=library.after_publish, source_root=library.source, folder=library.move_to)


def jellyfin_settings(config: Config) -> JellyfinSettings | None:
    """Return where Jellyfin is and what it calls our folders; None when it is told nothing."""
    section = config.jellyfin
    if section.url is None or section.api_key is None:
        return None
    mappings = [
        PathMapping(ours=library.publish, theirs=library.jellyfin_path or str(library.publish))
        for library in config.libraries
    ]
    return JellyfinSettings(
        url=section.url,
        api_key=section.api_key.get_secret_value(),
        mappings=(*mappings, PathMapping(ours=config.publish_dir, theirs=str(config.publish_dir))),
        probe_after_publish=section.probe_after_publish,
    )


def build_notifier(config: Config, reactor: Any) -> JellyfinNotifier | None:
    """Return what tells Jellyfin of changes; it makes no call before the first."""
    settings = jellyfin_settings(config)
    if settings is None:
        return None
    client = JellyfinClient(settings, http=build_client(reactor), clock=reactor)
    return JellyfinNotifier(settings, client, reactor)


def telegram_settings(config: Config) -> TelegramSettings:
    """Return the bots, chats and addresses. Raises ConfigError for a bot whose token was not read."""
    from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings, Token  # noqa: PLC0415

    telegram = config.telegram
    bots = []
    for number, bot in enumerate(telegram.bots):
        if bot.token is None:
            raise ConfigError(f"telegram.bots.{number}: the token was not read")
        bots.append(BotSettings(token=Token(bot.token.get_secret_value())))
    return TelegramSettings(
        bots=tuple(bots),
        chats=telegram.chats,
        scratch_chat=telegram.scratch_chat,
        base_url=telegram.base_url,
        base_file_url=telegram.base_file_url,
        local_mode=telegram.local_mode,
    )


def _build_telegram_store(
    config: Config, reactor: Any, catalog: Catalog, clock: Clock, throttle: Throttle
) -> TelegramStore:
    # Imported here: python-telegram-bot takes a third of a second, which `list` need not wait for.
    from tgsyncd.stores.telegram.memory import FileMemory  # noqa: PLC0415
    from tgsyncd.stores.telegram.store import TelegramStore  # noqa: PLC0415

    return TelegramStore(
        telegram_settings(config),
        reactor=reactor,
        clock=clock,
        random=random.SystemRandom(),
        intents=catalog,
        throttle=throttle,
        memory=FileMemory(config.data_dir / "telegram-state.json"),
        on_file_id=lambda ref, bot_id, file_id: _note(catalog.learn_file_id(ref, bot_id, file_id)),
    )


async def reconcile_uploads(store: Store, catalog: Catalog) -> None:
    """
    Find what became of uploads that a kill interrupted: adopted by the next ``put``, or deleted.

    A store that does not answer now is asked again with each ``put`` of the same document.
    """
    await remove_orphans(store, catalog)
    intents = catalog.intents()
    if not isinstance(store, Reconciling):
        return
    try:
        found = await store.reconcile(
            intents,
            is_wanted=lambda label: _may_be_put(catalog, label),
        )
    except StoreUnavailable as error:
        _log.warn("uploads that were interrupted are looked for later: {error}", error=error)
        return
    if not (intents or found.deleted):
        return
    _log.info(
        "of {count} interrupted uploads {adopted} had arrived; {deleted} doubles were deleted",
        count=len(intents),
        adopted=len(found.adopted),
        deleted=found.deleted,
    )


async def remove_orphans(store: Store, catalog: Catalog) -> None:
    """Have a store that can do so remove documents that nobody recorded, or will put again."""
    if isinstance(store, Tidying) and (intents := catalog.intents()):
        removed = await store.remove_orphans(intents, is_wanted=lambda label: _may_be_put(catalog, label))
        if removed:
            _log.info("{count} documents of uploads that never go on were removed", count=removed)


def _may_be_put(catalog: Catalog, label: DocumentLabel) -> bool:
    """Tell whether an ingest may come to this document again: only a video's newest revision goes on."""
    newest = catalog.newest_revision(label.video_id)
    return newest is not None and newest.number == label.revision


def _note(write: Coroutine[Any, Any, None]) -> None:
    """Let a write happen that nobody waits for; a file_id that is not kept is only learned again."""
    Deferred.fromCoroutine(write).addErrback(
        lambda failure: _log.warn("a file_id was not kept: {error}", error=failure.value)
    )
