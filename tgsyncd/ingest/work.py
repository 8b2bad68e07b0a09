# SPDX-License-Identifier: MIT
"""What an ingest is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tgsyncd.formats.ffmpeg import EncoderSettings
from tgsyncd.ingest.verify import Verify

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from twisted.internet.interfaces import IReactorThreads

    from tgsyncd.ingest.plan import PlanOptions
    from tgsyncd.ingest.publish import PublishSettings
    from tgsyncd.model import VideoId
    from tgsyncd.ports import CatalogReader, CatalogWriter, ProcessRunner, Store

    BeforePublish = Callable[[VideoId, int], Coroutine[Any, Any, None]]

__all__ = ["IngestOptions", "IngestOutcome", "PipelineSettings", "Progress", "ReleaseRule", "Tools"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """What the owner decided once."""

    spool_root: Path
    spool_bytes: int = 256_000_000
    reserve_bytes: int = 512 << 20
    verify: Verify = Verify.FULL
    uploads_in_flight: int = 8
    plan: PlanOptions
    encoder: EncoderSettings = field(default_factory=EncoderSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRule:
    """What becomes of the source files of a library when their videos are published."""

    action: Literal["move", "delete"]
    source_root: Path
    folder: Path | None = None
    """Where they are moved to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """What is decided for one file."""

    library: str
    publish: PublishSettings
    url_for: Callable[[VideoId], str]
    """The URL that the ``.strm`` holds."""
    force: bool = False
    video_id: str | None = None
    release: ReleaseRule | None = None
    """None: the source file stays where it is."""
    next_attempt_at_s: Callable[[Exception, int], float | None] = lambda _error, _attempts: None
    """When to try again what failed so often with this, or None for never; recorded with the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one file has come. ``position_s`` is in the film; bytes are of the stream."""

    video_id: VideoId | None
    path: Path
    stage: str
    position_s: float = 0.0
    duration_s: float | None = None
    cut_bytes: int = 0
    stored_bytes: int = 0
    reused_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOutcome:
    """What became of one file."""

    path: Path
    video_id: VideoId
    action: str
    strm: Path | None
    stored_bytes: int = 0
    reused_bytes: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every ingest works with."""

    reactor: IReactorThreads
    reader: CatalogReader
    writer: CatalogWriter
    store: Store
    runner: ProcessRunner
    settings: PipelineSettings
    before_publish: BeforePublish | None = None
    """Is told of a revision that is complete, before anybody can play it."""
