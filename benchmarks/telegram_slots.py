# SPDX-License-Identifier: MIT
"""How many of Telegram's slots the store uses, and how full what it sends is, on simulated time.

::

    python -m benchmarks.telegram_slots [documents for each budget]

The documents are those of films of 8 Mbit/s with a key frame every 2 s, as the packer ends them, made 200
times smaller on their way. The emulator allows 20 messages a minute, counted for each bot in each chat, and
in a second run for the chat as a whole; each upload takes some seconds. Printed are, for one and for four
bots, the share of the slots that carried a document from the first to the last, how many uploads were
refused, and the mean fill of the documents, small first ones and last ones included.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from twisted.internet import asyncioreactor

PER_MINUTE = 20
AT_ONCE = 32


SMALLER = 200
FILM_S = 6600
BITS_PER_S = 8_000_000


def document_sizes(count):
    """Return the sizes of so many documents: of one film after the other."""
    from tgsyncd.ingest.pack import DocumentEnd, Packer
    from tgsyncd.model import CutPoint, PackLimits

    chance, sizes = random.Random(1), []
    while len(sizes) < count:
        packer, offset, marks = Packer(PackLimits(), 6.0), 0, []
        for second in range(0, FILM_S, 2):
            marks += packer.feed(offset, [CutPoint(offset=offset, pts_s=float(second))]).marks
            # Quiet scenes and wild ones.
            offset += int(BITS_PER_S / 8 * 2 * chance.lognormvariate(-0.08, 0.4))
        marks += packer.finish(offset, float(FILM_S), offset).marks
        sizes += [mark.offset - mark.start for mark in marks if isinstance(mark, DocumentEnd)]
    return sizes[:count]


async def measure(folder, bots, count_per, sizes):
    """Return (share of slots used, refused uploads, simulated seconds)."""
    from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

    from tests.contracts.store import make_document
    from tests.stores.telegram.support import a_world

    async with a_world(folder, bots=bots, uploads_per_bot=8) as world:
        world.emulator.knobs.change(
            messages_per_minute=PER_MINUTE,
            messages_per_s=1.0,
            burst=5,
            count_per=count_per,
            store_s_per_mib=40.0,  # of 100 kB: about 4 s each, as 20 MB take
        )
        store = world.store()
        places = DeferredSemaphore(AT_ONCE)

        async def put(number):
            path, label, _ = make_document(folder, sizes[number] // SMALLER, number=number)
            await store.put(path, label)
            path.unlink()

        await gatherResults(
            [places.run(lambda n=n: Deferred.fromCoroutine(put(n))) for n in range(len(sizes))]
        )
        calls = world.emulator.calls("sendDocument")
        arrived = sorted(call.ended_s for call in calls if call.status == 200)
        refused = sum(1 for call in calls if call.status == 429)
        seconds = arrived[-1] - arrived[0]
        budgets = bots if count_per == "chat_bot" else 1
        # The first minute's slots are there at once; after that they come one by one.
        slots = budgets * PER_MINUTE * (1 + seconds / 60)
        return len(arrived) / slots, refused, seconds


def main():
    """Run all four cases."""
    per_budget = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    asyncioreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from tgsyncd.model import DOCUMENT_MAX_BYTES

    shares, fills = [], []

    async def run():
        for count_per in ("chat_bot", "chat"):
            for bots in (1, 4):
                sizes = document_sizes(per_budget * (bots if count_per == "chat_bot" else 1))
                fill = sum(sizes) / len(sizes) / DOCUMENT_MAX_BYTES
                with tempfile.TemporaryDirectory(prefix="tgsyncd-bench-") as folder:
                    share, refused, seconds = await measure(Path(folder), bots, count_per, sizes)
                shares.append(share)
                fills.append(fill)
                print(
                    f"counted per {count_per:8}  bots {bots}  slots used {share:.1%}  "
                    f"mean fill {fill:.1%}  documents {len(sizes)}  refused {refused}  "
                    f"simulated {seconds / 60:.1f} min",
                    flush=True,
                )

    def done(result):
        if result is not None:
            print(result.getTraceback(), file=sys.stderr)
            shares.append(0)
        reactor.stop()

    reactor.callLater(0, lambda: Deferred.fromCoroutine(run()).addBoth(done))
    reactor.run()
    return 0 if min(shares) >= 0.95 and min(fills, default=0) >= 0.85 else 1


if __name__ == "__main__":
    sys.exit(main())
