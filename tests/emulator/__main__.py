# SPDX-License-Identifier: MIT
"""``python -m tests.emulator``: a Telegram to try tgsyncd on, without Telegram."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

EPILOG = """\
On the first start the emulator creates the bots, a channel to store in and a scratch channel, and prints
their tokens and chat ids; the same --state directory brings them back. Then, for example:

  curl URL/botTOKEN/getMe
  curl URL/_control                                             what there is
  curl URL/_control/knobs -d messages_per_minute=20 -d latency_s=0.2
  curl URL/_control/faults -d kind=flood -d method=sendDocument -d retry_after_s=30 -d times=3
  curl -X DELETE URL/_control/faults

docs/emulator.md lists the knobs and faults. It is a test server without any protection: keep it on loopback.
"""


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.emulator",
        description="A Bot API server that needs no Telegram.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one (default: 8081)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--state", type=Path, required=True, help="directory that remembers everything")
    parser.add_argument("--bots", type=int, default=1, help="how many bots a new state has (default: 1)")
    parser.add_argument(
        "--chat-type", default="channel", choices=["channel", "supergroup", "group"],
        help="type of the storage chat of a new state",
    )  # fmt: skip
    parser.add_argument("--local", action="store_true", help="behave as a local Bot API server")
    parser.add_argument(
        "--limits", default="none", choices=["none", "cloud"],
        help="cloud: as strict as api.telegram.org, 20 messages a minute (default: none)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the chance in faults")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = parse_arguments(argv)
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import maybeDeferred

    failures: list[str] = []

    def give_up(failure: Any) -> None:
        failures.append(failure.getErrorMessage())
        reactor.stop()

    reactor.callWhenRunning(lambda: maybeDeferred(_start, reactor, options).addErrback(give_up))
    reactor.run()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _start(reactor: Any, options: argparse.Namespace) -> Any:
    from twisted.internet.defer import Deferred

    from tests.emulator.faults import CLOUD
    from tests.emulator.server import Emulator
    from tests.fakes.simulated_clock import RealClock

    emulator = Emulator(
        reactor, RealClock(reactor), options.state, local=options.local, port=options.port,
        host=options.host, seed=options.seed,
    )  # fmt: skip
    if options.limits == "cloud":
        emulator.knobs.change(**CLOUD)
    if not emulator.state.bots():
        _furnish(emulator, options)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(emulator.stop()))
    started = Deferred.fromCoroutine(emulator.start())
    return started.addCallback(lambda _: _introduce(emulator))


def _furnish(emulator: Any, options: argparse.Namespace) -> None:
    bots = [emulator.state.add_bot(f"Store {number}") for number in range(1, options.bots + 1)]
    emulator.state.add_chat(options.chat_type, title="Storage", bots=bots)
    emulator.state.add_chat("channel", title="Scratch", bots=bots)


def _introduce(emulator: Any) -> None:
    print(f"base_url       {emulator.base_url}")
    print(f"base_file_url  {emulator.base_file_url}")
    for bot in emulator.state.bots():
        print(f"bot            {bot.token or f'{bot.bot_id}: (its token was given; not kept)'}")
    for chat in emulator.state.chats():
        print(f"chat           {chat.chat_id}  {chat.type}, {chat.title}")
    print(f"control        {emulator.url}/_control", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
