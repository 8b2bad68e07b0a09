# SPDX-License-Identifier: MIT
"""What the cutters of both containers have in common. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.model import CutPoint

SOUND_LEAD_S = 0.1
"""Sound that starts this little before the picture is encoder priming (21 to 50 ms for AAC), which no
player shows: the stream then starts with the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """What is known of a stream at its end. Offsets and times are those of the bytes fed."""

    size_bytes: int
    media_end: int
    """The end of the last segment: less than ``size_bytes`` by the index (``mfra``) that ends an MP4."""
    start_s: float
    end_s: float
    """End of whatever is presented last."""
    video_end_s: float | None
    independent_segments: bool
    """No picture is shown before a key frame that precedes it in the stream: all GOPs are closed."""
    key_frames: int
    """Of the picture; segments may start at fewer of them."""
    init_section: bytes = field(repr=False)
    codecs: str
    """RFC 6381, each codec once; empty when one of them is unknown."""
    width: int
    height: int
    """0 where only the source's probe knows (MPEG-TS)."""
    late_cuts: tuple[CutPoint, ...] = ()
    """Cut points that ``feed`` has not given."""

    @property
    def init_bytes(self) -> int:
        """Length of the initialization section."""
        return len(self.init_section)


class Cutter(Protocol):
    """What both cutters do."""

    @property
    def known(self) -> int:
        """The offset below which no further cut point will come (the first one, at the head, excepted)."""
        ...

    @property
    def head_bytes(self) -> int:
        """The offset at which the first segment starts: 0, or the length of the initialization section."""
        ...

    def feed(self, data: bytes) -> Sequence[CutPoint]:
        """
        Take the stream's next bytes; return the cut points found, by offset.

        Raises
            FfmpegError for bytes that are not of the container.
        """
        ...

    def finish(self) -> StreamEnd:
        """
        Take note of the stream's end.

        Raises
            FfmpegError when it breaks off, or holds neither picture nor sound.
        """
        ...


def start_of(video_s: float | None, others_s: Sequence[float]) -> float:
    """Return when a stream starts of which the picture and the others start then."""
    earliest = min((*others_s, video_s) if video_s is not None else others_s)
    if video_s is not None and video_s - earliest <= SOUND_LEAD_S:
        return video_s
    return earliest


def join_codecs(codecs: Sequence[str]) -> str:
    """Return a stream's codecs string out of those of its tracks."""
    return ",".join(dict.fromkeys(codecs)) if all(codecs) else ""
