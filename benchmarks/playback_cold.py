# SPDX-License-Identifier: MIT
"""
How long a cold segment takes to its first bytes, beside what Telegram itself takes, and others before it.

    python -m benchmarks.playback_cold [--quick]

The emulator answers after 200 ms, getFile works at 400 Mbit/s, a connection brings 50 Mbit/s. Each round
takes another document, of which nothing is known or kept anywhere: a bare client calls getFile and reads from
where the segment begins; a player asks tgsyncd for the segment; nginx (proxy_cache with lock and slice) and
rclone (serve http, VFS cache) are asked for the same bytes after somebody called getFile for them. Each is a
process of its own. Which of them begins changes from round to round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from benchmarks.figures import Figure, show
from benchmarks.playback_peers import running_peers
from benchmarks.playback_rig import a_rig, load_now, make_long_film, read, segment_urls

ADDED_MS = 15.0


def first_segments(rig, video_id):
    """Return (segment, document) for documents in which a whole segment stands, from the last one on."""
    segments, found = rig.segments(video_id), []
    for document in reversed(rig.documents(video_id)):
        inside = [each for each in segments if document.offset <= each.offset and each.end <= document.end]
        if inside and inside[-1].order > 1:
            found.append((inside[-1], document))
    return found


def compare(rounds):
    """Return the seconds to the first bytes of everybody, by round."""
    film = make_long_film("ts", 1 + rounds)
    times = {}
    with a_rig() as rig:
        video_id = rig.upload(film)
        rig.slow()
        pairs = first_segments(rig, video_id)[: rounds + 1]
        files = [rig.get_file(document.file_id) for _, document in pairs]
        cache = {"ahead_duration": 0, "heads_bytes": 0}
        with running_peers(rig, files) as peers, rig.serving(cache=cache) as server:
            urls = segment_urls(server, video_id)
            for number, (segment, document) in enumerate(pairs):
                start = segment.offset - document.offset
                stop = start + segment.size_bytes

                def ask(name, document=document, start=start, stop=stop, segment=segment):
                    begun = time.perf_counter()
                    if name == "tgsyncd":
                        first_s, length = read(urls[segment.order])
                    else:
                        file = rig.get_file(document.file_id)
                        asked_s = time.perf_counter() - begun
                        file = file if name == "bare" else peers.urls(file)[name]
                        first_s, length = read(file, start, stop)
                        first_s += asked_s
                    assert length == segment.size_bytes, (name, length)
                    return first_s

                names = ["bare", "tgsyncd", *peers.urls(files[0])]
                names = names[number % len(names) :] + names[: number % len(names)]
                seen = {name: ask(name) for name in names}
                if number:  # the first round warms everybody up: connections, code
                    for name, first_s in seen.items():
                        times.setdefault(name, []).append(first_s)
    return times


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    arguments = parser.parse_args()
    rounds = 5 if arguments.quick else arguments.rounds
    times = compare(rounds)
    print(f"{len(times['bare'])} rounds, {load_now()}")
    print("\n| a cold segment, ms to the first bytes | median | least | most |\n| --- | --- | --- | --- |")
    for name, seconds in times.items():
        cells = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"| {name} | " + " | ".join(f"{each * 1000:.1f}" for each in cells) + " |")
    figures = []
    for name in sorted(times, key=lambda name: name != "bare"):
        if name != "tgsyncd":
            # The median of the differences within a round, not the difference of medians.
            added_s = statistics.median(a - b for a, b in zip(times["tgsyncd"], times[name], strict=True))
            peer_ms = statistics.median(times[name]) * 1000
            figures.append(
                Figure(
                    what="cold segment, to the first bytes",
                    value=peer_ms + added_s * 1000,
                    unit="ms",
                    peer=peer_ms,
                    peer_name=name,
                    at_most=ADDED_MS if name == "bare" else None,
                    limits="adds",
                )
            )
    return show(figures)


if __name__ == "__main__":
    sys.exit(main())
