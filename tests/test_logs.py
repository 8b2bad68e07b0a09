# SPDX-License-Identifier: MIT
"""No secret leaves through a log, whoever wrote the line."""

from __future__ import annotations

import base64
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogPublisher, formatEvent
from twisted.python.failure import Failure

from tgsyncd.logs import RedactingObserver, Redactor

TOKEN = "123456789:AAcanary-canary_canary-canary_canary"
PASSWORD = 'p"ss wörd/with\\all'


@pytest.fixture
def written():
    """Events as they come out behind the redaction, as text."""
    return []


@pytest.fixture
def log(written):
    def observe(event):
        text = formatEvent(event)
        if "log_failure" in event:
            text += event["log_failure"].getTraceback() + repr(event["log_failure"])
        written.append(text + repr({k: v for k, v in event.items() if k not in ("log_logger",)}))

    publisher = LogPublisher(RedactingObserver(observe, Redactor([TOKEN, PASSWORD])))
    return Logger(observer=publisher)


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD])
@pytest.mark.parametrize(
    "form",
    [
        str,
        repr,
        lambda secret: f"https://api.telegram.org/bot{secret}/getMe",
        lambda secret: f"https://example.org/?x={quote(secret, safe='')}&y",
        lambda secret: quote(secret),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(b"x" + secret.encode() + b"yz").decode(),
        lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: f"{secret}{secret}",
    ],
)
def test_every_form_of_a_secret_is_taken_out(secret, form):
    """Plain, in an address, percent-encoded, base64 at any position."""
    text = form(secret)
    redacted = Redactor([secret]).redact(f"before {text} after")
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    for needle in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()[:-4]):
        assert needle not in redacted
    assert "[redacted]" in redacted


def test_a_token_that_nobody_configured_is_taken_out_too():
    """It may come from a library, or be an old one."""
    text = "POST https://api.telegram.org/bot987654321:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendDocument"
    assert Redactor().redact(text) == ("POST https://api.telegram.org/bot987654321:[redacted]/sendDocument")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22 09:00:00 film: stored 12 of 60 documents",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "http://192.168.1.100:8080/segment/movie/1/main/segment_0000.ts",
        "file 123456:7",
    ],
)
def test_ordinary_lines_stay_as_they_are(text):
    """Also with secrets configured."""
    assert Redactor([TOKEN, PASSWORD]).redact(text) == text


@given(st.text(), st.text(), st.text(min_size=6, max_size=60))
def test_no_secret_survives(before, after, secret):
    """Whatever stands around it."""
    assert secret not in Redactor([secret]).redact(before + secret + after).replace("[redacted]", "\0")


def test_short_secrets_do_not_eat_words():
    """An empty or tiny password would take out half of the log."""
    assert Redactor(["", "a", "film"]).redact("a film") == "a film"


def test_events_lose_secrets_in_every_field(log, written):
    """The format, values, objects whose repr tells, bytes."""

    class Leaky:
        def __repr__(self):
            return f"Bot[token={TOKEN}]"

    log.info("told {token} and {bot!r}", token=TOKEN, bot=Leaky(), raw=TOKEN.encode(), many=[TOKEN])
    (text,) = written
    assert TOKEN not in text


def test_failures_lose_secrets(log, written):
    """In the exception, and in the one behind it."""
    try:
        try:
            raise ValueError(f"The token `{TOKEN}` was rejected by the server.")
        except ValueError as error:
            raise KeyError(TOKEN) from error
    except KeyError:
        log.failure("It failed", failure=Failure())
    assert TOKEN not in written[0]
    assert "It failed" in written[0]
    assert "KeyError" in written[0]


def test_harmless_events_are_not_touched(log, written):
    """Values keep their types: a JSON log stays structured."""
    seen = []
    RedactingObserver(seen.append, Redactor([TOKEN]))({"n": 5, "what": ("a", 1), "log_format": "{n}"})
    assert seen == [{"n": 5, "what": ("a", 1), "log_format": "{n}"}]


def test_a_broken_repr_does_not_break_logging(log, written):
    """It is named instead."""

    class Broken:
        def __repr__(self):
            raise RuntimeError(TOKEN)

    log.info("{x}", x=Broken())
    assert TOKEN not in written[0]


SCRIPT = f"""
import logging, sys, warnings
from twisted.internet.defer import Deferred, fail
from tgsyncd.logs import Redactor, begin_logging
TOKEN = {TOKEN!r}
begin_logging(lambda level, text: print(level, text), Redactor([TOKEN]), level="debug")
logging.getLogger("httpx").info("HTTP Request: POST https://api.telegram.org/bot%s/getMe", TOKEN)
logging.getLogger("telegram.Bot").debug("Set Bot API URL: %s", "https://x/bot" + TOKEN)
try:
    raise ValueError(TOKEN)
except ValueError:
    logging.getLogger("telegram").exception("failed with %r", TOKEN)
warnings.warn("about " + TOKEN)
fail(RuntimeError(TOKEN))
import gc; gc.collect()
raise SystemError("The token `" + TOKEN + "` was rejected")
"""


def test_a_whole_process_at_debug_tells_nothing():
    """Stdlib logging, warnings, unhandled failures and the last traceback, in a real process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert TOKEN not in output
    assert TOKEN.partition(":")[2] not in output
    for said in (
        "HTTP Request: POST",
        "Set Bot API URL",
        "ValueError",
        "about",
        "RuntimeError",
        "SystemError",
    ):
        assert said in output


def test_libraries_are_quiet_unless_asked():
    """At INFO, httpx's line for each request is not even made."""
    script = SCRIPT.replace('level="debug"', 'level="info"')
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "HTTP Request" not in done.stdout
