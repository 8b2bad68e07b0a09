# SPDX-License-Identifier: MIT
"""
One place through which every log line, warning and traceback goes, and that takes secrets out.

python-telegram-bot and httpx log URLs with the bot token at INFO and DEBUG; PTB's InvalidToken quotes the
token; Twisted logs failures with whatever their exceptions say. So the redaction does not trust its
sources: it takes out every configured secret, plain, percent-encoded and base64, and everything that
looks like a bot token.
"""

from __future__ import annotations

import base64
import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from twisted.logger import LogEvent

__all__ = ["RedactingObserver", "Redactor", "begin_logging", "forward_stdlib"]

REDACTED = "[redacted]"

MIN_SECRET_CHARACTERS = 6
"""Taking shorter texts out would take words out, and they are no secrets."""

_LOOKS_LIKE_TOKEN = re.compile(
    # The colon may be percent-encoded. The number is the bot's id, which is no secret.
    r"(?P<bot>(?:bot)?\d{5,12})(?::|%3[Aa])[A-Za-z0-9_-]{25,}"
)

_LOOKS_LIKE_CAPABILITY = re.compile(r"(?<=/p/)[A-Za-z0-9_-]{32}(?![A-Za-z0-9_-])")
"""What opens a video to whoever has its URL. It never expires."""

CHATTY = ("httpx", "httpcore", "telegram", "apscheduler")
"""Libraries whose INFO and DEBUG lines say nothing that an owner needs."""


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Take these out too, from now on."""
        for secret in secrets:
            if len(secret) >= MIN_SECRET_CHARACTERS:
                self._forms |= _forms_of(secret)
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        text = _LOOKS_LIKE_TOKEN.sub(rf"\g<bot>:{REDACTED}", text)
        return _LOOKS_LIKE_CAPABILITY.sub(REDACTED, text)


def _forms_of(secret: str) -> set[str]:
    """Return the ways in which a secret may stand in a text."""
    raw = secret.encode("utf-8", "surrogateescape")
    forms = {secret, quote(secret, safe=""), quote(secret, safe="").lower(), quote(secret)}
    # repr() and JSON of text with quotes or backslashes in it.
    forms |= {repr(secret)[1:-1], secret.replace("\\", "\\\\").replace('"', '\\"')}
    for shift in range(3):
        # Inside a longer text, base64 looks different for each position modulo 3. What depends on
        # the neighbours is cut off.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).decode()
            usable = (shift + len(raw)) * 8 // 6
            forms.add(encoded[(shift * 8 + 5) // 6 : usable])
    return {form for form in forms if len(form) >= MIN_SECRET_CHARACTERS}


@implementer(ILogObserver)
class RedactingObserver:
    """A twisted.logger observer that hands events on without secrets."""

    def __init__(self, observer: Callable[[LogEvent], None], redactor: Redactor) -> None:
        self._observer = observer
        self._redactor = redactor

    def __call__(self, event: LogEvent) -> None:
        """Pass the event on; replace what holds a secret, keep the rest as it is."""
        self._observer({key: self._clean(key, value) for key, value in event.items()})

    def _clean(self, key: str, value: Any) -> Any:
        if key == "log_failure":
            return self._clean_failure(value)
        if isinstance(value, str):
            return self._redactor.redact(value)
        if value is None or isinstance(value, int | float) or key in _PLUMBING:
            return value
        try:
            # {value} and {value!r} in a format are different texts; either may hold the secret.
            text = f"{value!s}\n{value!r}"
        except Exception as error:  # noqa: BLE001 - a broken __repr__ must not break logging
            return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
        redacted = self._redactor.redact(text)
        return value if redacted == text else redacted

    def _clean_failure(self, failure: Any) -> Any:
        text = failure.getTraceback()
        redacted = self._redactor.redact(text)
        return failure if redacted == text else _CleanFailure(failure, redacted, self._redactor)


_PLUMBING = frozenset({"log_level", "log_logger", "log_source", "log_trace", "log_flattened", "log_observer"})


class _CleanFailure:
    """What observers use of a Failure, without secrets."""

    def __init__(self, failure: Any, text: str, redactor: Redactor) -> None:
        self.type = failure.type
        self.value = Exception(redactor.redact(str(failure.value)))
        self._text = text
        self._message = redactor.redact(failure.getErrorMessage())

    def getTraceback(self, *_args: Any, **_kwargs: Any) -> str:  # noqa: N802 - Failure's name
        """Return the redacted traceback."""
        return self._text

    def getErrorMessage(self) -> str:  # noqa: N802 - Failure's name
        """Return the redacted message."""
        return self._message

    def __str__(self) -> str:
        return self._message

    __repr__ = __str__


class _ToTwisted(logging.Handler):
    """Hands stdlib log records to twisted.logger, which is where the observers are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on as one event."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        except Exception:  # noqa: BLE001 - as logging itself does
            self.handleError(record)
            return
        level = LogLevel.levelWithName(_LEVELS.get(record.levelno // 10 * 10, "info"))
        Logger(namespace=record.name).emit(level, "{text}", text=text)


_LEVELS = {0: "debug", 10: "debug", 20: "info", 30: "warn", 40: "error", 50: "critical"}


def forward_stdlib(level: int = logging.INFO) -> None:
    """Send stdlib logging (PTB, httpx, APScheduler, warnings) to twisted.logger; quieten the chatty."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _ToTwisted | logging.StreamHandler):
            root.removeHandler(handler)
    root.addHandler(_ToTwisted())
    root.setLevel(level)
    quiet = logging.WARNING if level > logging.DEBUG else level
    for name in CHATTY:
        logging.getLogger(name).setLevel(quiet)
    # Logs each HTML answer of a proxy with a traceback, and raises as well: the store tells what matters.
    logging.getLogger("telegram.request.BaseRequest").setLevel(
        logging.CRITICAL if level > logging.DEBUG else level
    )
    logging.captureWarnings(capture=True)


def begin_logging(
    write: Callable[[str, str], None],
    redactor: Redactor,
    *,
    level: str = "info",
    write_event: Callable[[str, str, LogEvent], None] | None = None,
) -> None:
    """
    Begin logging: ``write(level, text)`` gets each event as text, without secrets.

    ``write_event(level, text, event)`` gets the event as well, instead, cleaned likewise.

    Also sends stdlib logging, warnings and uncaught exceptions that way. At DEBUG the chatty libraries
    may speak: the redaction holds for them too.
    """

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        if text:
            # Once more, as a whole: a format may have joined the parts of a secret.
            name, clean = event["log_level"].name, redactor.redact(text)
            if write_event is None:
                write(name, clean)
            else:
                write_event(name, clean, event)

    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    observer = FilteringLogObserver(RedactingObserver(observe, redactor), [predicate])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    forward_stdlib(logging.DEBUG if level == "debug" else logging.INFO)
    redact_uncaught(redactor)


def redact_uncaught(redactor: Redactor) -> None:
    """Print uncaught exceptions without secrets."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        text = "".join(traceback.format_exception(kind, error, trace))
        if sys.stderr is not None:
            sys.stderr.write(redactor.redact(text))

    sys.excepthook = show
