# SPDX-License-Identifier: MIT
"""
PURE: the configuration as a frozen tree.

Each option is declared once, here, with its type, default and description; ``tgsyncd.yaml.example`` and
docs/configuration.md are rendered from this file.

Sizes are bytes and durations seconds once read; in YAML they may carry a unit (``256 MB``, ``6 s``).
Paths may start with ``~`` and are relative to ``values.PathBase.folder``, the folder of the YAML file.
Reading files, variables and secrets is ``config.load``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from tgsyncd.config.auth import Auth
from tgsyncd.config.caching import CacheSection
from tgsyncd.config.jellyfin import JellyfinSection
from tgsyncd.config.libraries import MAX_LIBRARIES, Library, library_problems
from tgsyncd.config.running import IngestSection, JobsSection, ScanSection
from tgsyncd.config.section import Section, refuse
from tgsyncd.config.serving import Server
from tgsyncd.config.units import render_size
from tgsyncd.config.upload import UploadSection
from tgsyncd.config.values import LocalPath, Mode, Name, Size, Target, Url
from tgsyncd.model import DOCUMENT_MAX_BYTES, PackLimits

# The Bot API refuses uploads above this even on a local server: https://core.telegram.org/bots/api,
# "Using a Local Bot API Server": "Upload files up to 2000 MB".
LOCAL_SERVER_MAX_BYTES = 2_000_000_000

SPOOL_MIN_BYTES = 64_000_000
"""What one video needs: three documents, or cutting would wait for each upload."""


class StoreSection(Section):
    """Where documents live."""

    kind: Literal["directory", "telegram"] = Field(
        default="directory",
        description="`directory` keeps documents in a folder, `telegram` in a chat.",
    )
    directory: LocalPath | None = Field(
        default=None,
        description="Folder of the directory store. Empty: `store` in `data_dir`.",
    )


class Bot(Section):
    """One Telegram bot. Its token comes from exactly one of three places, never from this file."""

    token_file: LocalPath | None = Field(
        default=None, description="File with the token; only its owner may read it (mode 0600)."
    )
    token_env: Name | None = Field(default=None, description="Environment variable that holds the token.")
    credential: Name | None = Field(
        default=None, description="Name of a systemd credential (`LoadCredential=`)."
    )
    token: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="Filled in when the file is read."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [self.token_file, self.token_env, self.credential, self.token]
        if sum(place is not None for place in places) != 1:
            raise ValueError("name exactly one of token_file, token_env and credential")
        return self


class Telegram(Section):
    """The bots and the chats that hold the documents; used when `store.kind` is `telegram`."""

    bots: tuple[Bot, ...] = Field(
        default=(), description="Bots that may post in every chat below; several share the work."
    )
    chats: tuple[int, ...] = Field(
        default=(),
        description="Ids of supergroups or channels (they begin with -100) that hold the documents.",
    )
    scratch_chat: int | None = Field(
        default=None,
        description="Chat in which bots forward documents to each other. Not one of `chats`, whose "
        "20 messages a minute it would use up.",
    )
    base_url: Url = Field(
        default="https://api.telegram.org/bot", description="Bot API address, up to the token."
    )
    base_file_url: Url = Field(
        default="https://api.telegram.org/file/bot",
        description="Address of files in the Bot API, up to the token.",
    )
    local_mode: bool = Field(
        default=False,
        description="`true` when `base_url` is your own Bot API server started with `--local`.",
    )

    @field_validator("chats")
    @classmethod
    def _are_groups(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        refuse([
            ((index,), f"{chat} is a person or a bot; the ids of supergroups and channels begin with -100")
            for index, chat in enumerate(value)
            if chat >= 0
        ])  # fmt: skip
        return value

    @model_validator(mode="after")
    def _scratch_is_separate(self) -> Self:
        if self.scratch_chat is not None and self.scratch_chat in self.chats:
            refuse([(("scratch_chat",), "this must not be one of the chats that hold documents")])
        return self


class VideoSection(Section):
    """How pictures are treated. A stream that players can play is copied bit for bit."""

    mode: Literal["auto", "copy", "transcode"] = Field(
        default="auto",
        description="`auto`: transcode what players cannot play. `copy`: never, refuse such files. "
        "`transcode`: always.",
    )
    encoder: Literal["none", "vaapi", "qsv", "nvenc"] = Field(
        default="none", description="Hardware encoder; `none` is x264 on the CPU."
    )
    device: str = Field(default="/dev/dri/renderD128", description="Device of `vaapi` and `qsv`.")
    crf: int = Field(
        default=21, ge=0, le=51, description="Quality when transcoding: lower is better and larger."
    )
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
    ] = Field(default="veryfast", description="x264's trade of time for size.")
    threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Encoder threads; 0 is one per CPU. Stored with each video, because x264's bytes "
        "differ with it.",
    )


class Segments(Section):
    """Media segments: what a playlist names."""

    duration: Target = Field(
        default=6.0,
        description="Target length; `max` is one segment per document.",
        json_schema_extra={"unit": "s"},
    )

    @field_validator("duration")
    @classmethod
    def _sensible(cls, value: float | str) -> float | str:
        # Below 1 s a playlist of a film has 10,000 lines; above 60 s players buffer several minutes.
        if isinstance(value, float) and not 1 <= value <= 60:
            raise ValueError("a segment's target is between 1 s and 60 s, or max")
        return value

    @property
    def target_s(self) -> float | None:
        """The target in seconds, or None for one segment per document."""
        return self.duration if isinstance(self.duration, float) else None


class Documents(Section):
    """Documents: what the store holds."""

    max_bytes: Size = Field(
        default=DOCUMENT_MAX_BYTES,
        ge=1_000_000,
        le=LOCAL_SERVER_MAX_BYTES,
        description="Largest document. The cloud Bot API downloads at most 20 MiB, encrypted or not.",
    )
    first_bytes: tuple[Size, ...] = Field(
        default=PackLimits().first_documents_bytes,
        description="Sizes of the first documents: small, so that playback starts soon.",
    )
    max_waste: float = Field(
        default=PackLimits().max_waste,
        ge=0,
        le=0.5,
        description="A document ends at a segment's end when at most this share of it stays empty.",
    )

    @field_validator("first_bytes")
    @classmethod
    def _not_tiny(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        # Every document costs one of the chat's 20 messages a minute.
        if any(size < 100_000 for size in value) or len(value) > 16:
            raise ValueError("at most 16 sizes, each at least 100 kB")
        return value


class Spool(Section):
    """Documents that are cut and not stored yet. When it is full, ffmpeg waits."""

    max_bytes: Size = Field(
        default=256_000_000,
        ge=SPOOL_MIN_BYTES,
        description="Most that the spool takes on disk, in `data_dir`; at least 64 MB.",
    )


class Publish(Section):
    """The files written into a library."""

    directory: LocalPath | None = Field(
        default=None,
        description="Where a video that belongs to no library is published. Empty: `published` in "
        "`data_dir`.",
    )
    file_mode: Mode = Field(
        default=0o644, description="Mode of files: Jellyfin's user must be able to read them."
    )
    dir_mode: Mode = Field(default=0o755, description="Mode of folders.")
    group: str | None = Field(
        default=None, description="Group that files and folders are given to, for example `jellyfin`."
    )


class Ffmpeg(Section):
    """Limits of the programs ffmpeg and ffprobe."""

    memory_bytes: Size = Field(
        default=4 << 30,
        ge=256_000_000,
        description="Most address space that one may take. x264 at 2160p takes more than 2 GiB; with "
        "`nvenc` there is no limit, because CUDA reserves as much as the GPU has.",
    )


class Config(Section):
    """The whole configuration."""

    data_dir: LocalPath = Field(
        default=Path("~/.local/share/tgsyncd"),
        description="The catalog, the spool and what else must survive. Back this folder up.",
    )
    cache_dir: LocalPath = Field(
        default=Path("~/.cache/tgsyncd"), description="What may be deleted at any time."
    )
    libraries: tuple[Library, ...] = Field(default=(), description="Pairs of folders.")
    store: StoreSection = StoreSection()
    telegram: Telegram = Telegram()
    server: Server = Server()
    auth: Auth = Auth()
    video: VideoSection = VideoSection()
    segments: Segments = Segments()
    documents: Documents = Documents()
    spool: Spool = Spool()
    verify: Literal["full", "sample", "none"] = Field(
        default="full",
        description="What is read back from the store and compared before a video is published: "
        "all documents, the first and one in ten of the others, or none.",
    )
    publish: Publish = Publish()
    jellyfin: JellyfinSection = JellyfinSection()
    scan: ScanSection = ScanSection()
    ingest: IngestSection = IngestSection()
    upload: UploadSection = UploadSection()
    cache: CacheSection = CacheSection()
    jobs: JobsSection = JobsSection()
    ffmpeg: Ffmpeg = Ffmpeg()

    @field_validator("libraries")
    @classmethod
    def _libraries_apart(cls, value: tuple[Library, ...]) -> tuple[Library, ...]:
        if len(value) > MAX_LIBRARIES:
            message = f"these are {len(value)}, and at most {MAX_LIBRARIES} libraries work"
            raise ValueError(message)
        refuse(library_problems(value))
        return value

    @field_validator("telegram")
    @classmethod
    def _telegram_complete(cls, value: Telegram, info: ValidationInfo) -> Telegram:
        store = info.data.get("store")
        if store is not None and store.kind == "telegram" and not (value.bots and value.chats):
            raise ValueError("store.kind is telegram, which needs at least one bot and one chat")
        return value

    @field_validator("ingest")
    @classmethod
    def _spool_for_all(cls, value: IngestSection, info: ValidationInfo) -> IngestSection:
        spool = info.data.get("spool")
        if spool is not None and spool.max_bytes < value.parallel * SPOOL_MIN_BYTES:
            needed, given = render_size(value.parallel * SPOOL_MIN_BYTES), render_size(spool.max_bytes)
            message = f"{value.parallel} videos at once need a spool of {needed}; spool.max_bytes is {given}"
            refuse([(("parallel",), message)])
        return value

    @field_validator("documents")
    @classmethod
    def _documents_readable(cls, value: Documents, info: ValidationInfo) -> Documents:
        store, telegram = info.data.get("store"), info.data.get("telegram")
        if store is None or telegram is None:
            return value
        if value.max_bytes > DOCUMENT_MAX_BYTES and not telegram.local_mode:
            message = (
                f"more than {render_size(DOCUMENT_MAX_BYTES)} needs telegram.local_mode: the cloud Bot API "
                "downloads no larger file"
            )
            refuse([(("max_bytes",), message)])
        return value

    @property
    def store_dir(self) -> Path:
        """Root of the directory store."""
        return self.store.directory or self.data_dir / "store"

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool. Not in the cache folder: an interrupted ingest goes on from it."""
        return self.data_dir / "spool"

    @property
    def catalog_path(self) -> Path:
        """The catalog's file."""
        return self.data_dir / "catalog.sqlite3"

    @property
    def publish_dir(self) -> Path:
        """Where a video that belongs to no library is published."""
        return self.publish.directory or self.data_dir / "published"

    @property
    def pack_limits(self) -> PackLimits:
        """How documents are filled."""
        return PackLimits(
            document_max_bytes=self.documents.max_bytes,
            first_documents_bytes=tuple(
                min(size, self.documents.max_bytes) for size in self.documents.first_bytes
            ),
            max_waste=self.documents.max_waste,
        )

    def library(self, name: str) -> Library | None:
        """Return the library of this name."""
        return next((library for library in self.libraries if library.name == name), None)
