# SPDX-License-Identifier: MIT
"""
Limits and faults that can be changed while the emulator runs. No I/O; time and chance come in.

A ``Knobs`` value says how the server always behaves; a ``Fault`` says what goes wrong, where, how often.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from tests.emulator.wire import ApiError, too_many_requests

if TYPE_CHECKING:
    import random

MIB: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Knobs:
    """How the server behaves. Everything is off or unlimited unless set; 0 means "no limit"."""

    latency_s: float = 0.0
    """Before the answer to every call and download."""
    upload_bytes_per_s: float = 0.0
    """Per connection, while the request's body comes in."""
    download_bytes_per_s: float = 0.0
    """Per connection, while a file goes out."""
    store_s_per_mib: float = 0.0
    """Between the end of an upload and its answer: the server hands the file to Telegram first."""
    get_file_s_per_mib: float = 0.0
    """getFile fetches the whole file to the server before it answers."""
    range_honoured: bool = True
    """False: Range is ignored and the whole file is sent with 200."""
    messages_per_minute: int = 0
    """20 is what groups and channels accept."""
    count_per: str = "chat_bot"
    """Whom the limits count: "chat_bot" (each bot in each chat) or "chat" (all bots of a chat together)."""
    messages_per_s: float = 0.0
    """1 is what Telegram asks for in one chat."""
    burst: int = 1
    """How many messages may come at once before ``messages_per_s`` is felt."""
    same_size_throttle: bool = False
    """api.telegram.org's own: uploads of exactly equal size are spaced, a backlog is refused."""
    path_lifetime_s: float = 3600.0
    """How long a file_path works."""
    download_limit_bytes: int = 20 * MIB
    upload_limit_bytes: int = 50_000_000
    deleted_files_work: bool = True
    """Whether a file_id goes on working when no message shows the file any more."""
    file_ids_change: bool = True
    """Whether a file's file_id differs from answer to answer."""

    def change(self, **values: Any) -> None:
        """Set several at once; an unknown name or a wrong type is a ValueError."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no such knob: {name}; there are {', '.join(known)}")
            kind = type(known[name])
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not kind:
                raise ValueError(f"{name} is a {kind.__name__}, not {value!r}")
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


CLOUD: Final = {
    "messages_per_minute": 20, "messages_per_s": 1.0, "burst": 5, "same_size_throttle": True,
    "latency_s": 0.05,
}  # fmt: skip
"""Knobs that make the emulator as strict as api.telegram.org."""

# Where in a call each kind of fault strikes.
PHASES: Final = {
    "reset_upload": "upload", "stall_upload": "upload",
    "flood": "before", "error": "before", "html": "before", "temporarily_unavailable": "before",
    "drop": "before", "stall": "before",
    "lost_acknowledgement": "after", "late_answer": "after",
    "truncate": "download", "bit_flip": "download", "stall_download": "download",
    "reset_download": "download",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Fault:
    """
    Something that goes wrong with matching calls.

    ``kind`` is one of ``PHASES``; ``method`` is a Bot API method, "download" (the /file endpoint) or "*"
    (calls and downloads); "sends" stands for all methods that create messages. ``bot_id`` and ``chat_id``
    None match all (faults of the upload phase come before the chat is known and ignore ``chat_id``).
    """

    kind: str
    method: str = "*"
    bot_id: int | None = None
    chat_id: int | None = None
    times: int | None = 1
    """How many calls it still strikes; None for ever."""
    skip: int = 0
    """How many matching calls pass unharmed first."""
    probability: float = 1.0
    retry_after_s: int = 5
    """flood"""
    code: int = 502
    """error, html"""
    description: str = ""
    """error; empty: what the server says for this code"""
    after_bytes: int | None = None
    """upload and download faults; None: somewhere, by chance"""
    seconds: float = 0.0
    """stall, late_answer: how long; 0 means for ever"""
    struck: int = 0
    """How often it has struck."""

    def __post_init__(self) -> None:
        if self.kind not in PHASES:
            raise ValueError(f"no such fault: {self.kind}; there are {', '.join(PHASES)}")

    @property
    def phase(self) -> str:
        return PHASES[self.kind]

    def matches(self, method: str, bot_id: int, chat_id: int | None) -> bool:
        method_matches = (
            self.method == "*"
            or self.method.lower() == method.lower()
            or (self.method == "sends" and method.lower() in SENDS)
        )
        return (
            method_matches
            and self.times != 0
            and self.bot_id in (None, bot_id)
            and (self.chat_id in (None, chat_id) or self.phase == "upload")
        )

    def error(self) -> ApiError:
        if self.kind == "flood":
            return too_many_requests(self.retry_after_s)
        if self.kind == "temporarily_unavailable":
            return ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        texts = {500: "Internal Server Error: restart", 401: "Unauthorized", 404: "Not Found"}
        default = texts.get(self.code) or {502: "Bad Gateway", 504: "Gateway Timeout"}.get(
            self.code, "Bad Request"
        )
        return ApiError(self.code, self.description or default)


SENDS: Final = frozenset(
    {
        "senddocument",
        "sendphoto", "sendvideo", "sendaudio", "sendvoice", "sendanimation",
        "sendmessage", "sendmediagroup", "forwardmessage",
        "forwardmessages", "copymessage", "copymessages",
    }
)  # fmt: skip
EDITS: Final = frozenset({"editmessagemedia", "editmessagecaption", "editmessagetext"})


class Faults:
    """The faults that are on, and the chance that decides."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.active: list[Fault] = []

    def add(self, kind: str, **values: Any) -> Fault:
        """Switch a fault on and return it: it counts how often it struck, and can be removed."""
        fault = Fault(kind=kind, **values)
        self.active.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        if fault in self.active:
            self.active.remove(fault)

    def clear(self) -> None:
        self.active.clear()

    def pick(self, phase: str, method: str, bot_id: int, chat_id: int | None = None) -> Fault | None:
        """Return the first fault that strikes this call in this phase, and count it."""
        for fault in self.active:
            if fault.phase == phase and fault.matches(method, bot_id, chat_id) and self._strikes(fault):
                return fault
        return None

    def _strikes(self, fault: Fault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.probability < 1.0 and self.random.random() >= fault.probability:
            return False
        if fault.times is not None:
            fault.times -= 1
        fault.struck += 1
        return True

    def place(self, fault: Fault, size: int) -> int:
        """Return the byte at which an upload or download fault strikes."""
        if fault.after_bytes is not None:
            return fault.after_bytes
        return self.random.randrange(max(1, size))


class Limits:
    """Counts messages as Telegram does and says how long a bot has to wait."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._sent: dict[tuple[int, int], deque[float]] = {}
        self._same_size: dict[int, float] = {}

    def charge_messages(self, now_s: float, bot_id: int, chat_id: int, count: int) -> None:
        """Count messages of a call, or raise the 429 that refuses it. A refused call costs nothing."""
        self.check_messages(now_s, bot_id, chat_id, count)
        self._sent_of(bot_id, chat_id).extend([now_s] * count)

    def check_messages(self, now_s: float, bot_id: int, chat_id: int, count: int) -> None:
        """Raise the 429 that refuses so many messages now."""
        sent = self._sent_of(bot_id, chat_id)
        while sent and sent[0] <= now_s - 60:
            sent.popleft()
        wait_s = max(self._minute_wait_s(sent, now_s, chat_id, count), self._second_wait_s(sent, now_s))
        if wait_s > 0:
            raise too_many_requests(max(1, math.ceil(wait_s)))

    def _sent_of(self, bot_id: int, chat_id: int) -> deque[float]:
        key = (chat_id, 0 if self._knobs.count_per == "chat" else bot_id)
        return self._sent.setdefault(key, deque())

    def _minute_wait_s(self, sent: deque[float], now_s: float, chat_id: int, count: int) -> float:
        # Only groups and channels have the limit of 20 a minute; their ids are negative.
        limit = self._knobs.messages_per_minute
        if not limit or chat_id > 0:
            return 0.0
        too_many = len(sent) + min(count, limit) - limit
        return sent[too_many - 1] + 60 - now_s if too_many > 0 else 0.0

    def _second_wait_s(self, sent: deque[float], now_s: float) -> float:
        rate = self._knobs.messages_per_s
        if not rate or len(sent) < self._knobs.burst:
            return 0.0
        return sent[-self._knobs.burst] + self._knobs.burst / rate - now_s

    def same_size_delay_s(self, now_s: float, size: int) -> float:
        """
        Return how long an upload of exactly this size has to wait for its turn.

        100 000 B, 1e-7 s a byte, 0.2-0.9 s, and 5 s of backlog are the server's numbers.
        """
        if not self._knobs.same_size_throttle or size <= 100_000:
            return 0.0
        turn = max(now_s, self._same_size.get(size, now_s))
        if turn - now_s > 5:
            raise too_many_requests(60, sleep_s=3.0)
        self._same_size[size] = turn + min(0.9, max(0.2, size * 1e-7))
        return turn - now_s
