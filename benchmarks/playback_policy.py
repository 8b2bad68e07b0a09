# SPDX-License-Identifier: MIT
"""
What the cache's policy brings: viewers over one memory cache, simulated, with the real ``playback.policy``.

    python -m benchmarks.playback_policy [--steps 3000]

Each viewer asks for a segment every 6 s; 1 in 100 requests seeks, 2 in 100 step back, and 15 in 100 films are
begun together with somebody else. Three segments are read ahead of each viewer. Printed are the share of
requests that found their segment here, and the bytes fetched for each byte served.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import OrderedDict
from dataclasses import dataclass

from benchmarks.figures import Figure, show
from tgsyncd.playback.policy import Kept, choose_ahead, choose_depth, plan_eviction
from tgsyncd.playback.sessions import Sessions

SEGMENTS = 1_200
SEGMENT_S = 6.0
MAX_DEPTH = 3
AMPLIFICATION = 1.10
"""Fetched for each byte served."""


@dataclass
class Film:
    name: str
    sizes: list


@dataclass
class Viewer:
    name: str
    film: Film
    order: int


class Trace:
    """The same requests for every policy."""

    def __init__(self, viewers, sizes_mb, steps, seed=1):
        rng = random.Random(seed)
        self.films = {}

        def new_film():
            name = f"film-{len(self.films)}"
            film = Film(name, [int(rng.uniform(*sizes_mb) * 1e6) for _ in range(SEGMENTS)])
            self.films[name] = film
            return film

        watching = [Viewer(f"viewer-{n}", new_film(), rng.randrange(SEGMENTS // 2)) for n in range(viewers)]
        self.requests = []
        for step in range(steps):
            for viewer in watching:
                self.requests.append((step * SEGMENT_S, viewer.name, viewer.film, viewer.order))
                chance = rng.random()
                if chance < 0.01:
                    viewer.order = rng.randrange(SEGMENTS)
                elif chance < 0.03:
                    viewer.order = max(viewer.order - 1, 0)
                else:
                    viewer.order += 1
                if viewer.order >= SEGMENTS or rng.random() < 0.002:
                    other = rng.choice(watching)
                    together = rng.random() < 0.15
                    viewer.film, viewer.order = (
                        (other.film, min(other.order, SEGMENTS - 1)) if together else (new_film(), 0)
                    )


class Simple:
    """LRU or FIFO: what is inserted, evicts."""

    def __init__(self, limit_bytes, *, moves):
        self.limit, self.moves = limit_bytes, moves
        self.kept, self.used = OrderedDict(), 0
        self.fetched = self.served = self.hits = self.asked = 0

    def request(self, _now_s, _viewer, film, order):
        self.asked += 1
        self.served += film.sizes[order]
        self.hits += self._get(film, order)
        for ahead in range(order + 1, min(order + 1 + MAX_DEPTH, SEGMENTS)):
            self._get(film, ahead)

    def _get(self, film, order):
        key = film.name, order
        if key in self.kept:
            if self.moves:
                self.kept.move_to_end(key)
            return True
        size = film.sizes[order]
        self.fetched += size
        self.kept[key] = size
        self.used += size
        while self.used > self.limit:
            self.used -= self.kept.popitem(last=False)[1]
        return False


class Ours:
    """The policy of the cache."""

    def __init__(self, limit_bytes, *, is_adaptive=True, knows_addresses=True, films=None):
        self.limit, self.films = limit_bytes, films
        self.is_adaptive, self.knows_addresses = is_adaptive, knows_addresses
        self.sessions = Sessions()
        self.kept, self.used, self.now_s = {}, 0, 0.0
        self.fetched = self.served = self.hits = self.asked = 0

    def request(self, now_s, viewer, film, order):
        self.now_s = now_s
        session = self.sessions.note(film.name, order, viewer if self.knows_addresses else "", now_s)
        session.is_playing = True
        self.asked += 1
        self.served += film.sizes[order]
        is_hit = self._get(film, order, 0, is_read=True)
        self.hits += is_hit
        self._read_ahead()

    def _read_ahead(self):
        playing = self.sessions.playing(self.now_s)
        heads = list({session.playhead for session in playing})
        for head, away in choose_ahead(heads, MAX_DEPTH):
            film = self.films[head.stream]
            depth = self._depth(film, len(playing))
            if away <= depth and head.order + away < SEGMENTS:
                self._get(film, head.order + away, away, is_read=False)

    def _depth(self, film, viewers):
        if not self.is_adaptive:
            return MAX_DEPTH
        mean = sum(film.sizes[:100]) / 100
        return choose_depth(budget_bytes=self.limit, viewers=viewers, mean_bytes=mean, max_depth=MAX_DEPTH)

    def _get(self, film, order, away, *, is_read):
        key = f"{film.name} {order}"
        known = self.kept.get(key)
        if known is not None or not self._make_room(film.sizes[order], away):
            if known is None and away == 0:
                self.fetched += film.sizes[order]  # served past the memory
            if known is not None and is_read:
                self._put(key, film, order, is_read=True)
            return known is not None
        self.fetched += film.sizes[order]
        self.used += film.sizes[order]
        self._put(key, film, order, is_read=is_read)
        return False

    def _put(self, key, film, order, *, is_read):
        self.kept[key] = Kept(
            key=key,
            stream=film.name,
            order=order,
            size_bytes=film.sizes[order],
            last_used_s=self.now_s,
            is_read=is_read,
        )

    def _make_room(self, size, away):
        need = self.used + size - self.limit
        if need <= 0:
            return True
        heads = self.sessions.playheads(self.now_s)
        keys = plan_eviction(self.kept.values(), heads, need_bytes=need, newcomer_distance=away)
        for key in keys or ():
            self.used -= self.kept.pop(key).size_bytes
        return keys is not None


def run(policy, trace):
    for request in trace.requests:
        policy.request(*request)
    return policy.hits / policy.asked, policy.fetched / policy.served


def policies(limit_bytes, trace):
    return {
        "LRU": Simple(limit_bytes, moves=True),
        "FIFO": Simple(limit_bytes, moves=False),
        "ours, always 3 ahead": Ours(limit_bytes, is_adaptive=False, films=trace.films),
        "ours, no addresses": Ours(limit_bytes, knows_addresses=False, films=trace.films),
        "ours": Ours(limit_bytes, films=trace.films),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2_000, help="segments that each viewer watches")
    parser.add_argument("--memory-mb", type=int, default=100)
    options = parser.parse_args()
    figures = []
    for label, sizes_mb in (("6-19.9 MB", (6.0, 19.9)), ("2-8 MB", (2.0, 8.0))):
        print(
            f"\nsegments of {label}, {options.memory_mb} MB of memory: hit ratio / fetched per byte served\n"
        )
        worst = (0.0, 0.0)
        for viewers in range(1, 9):
            trace = Trace(viewers, sizes_mb, options.steps)
            results = {
                name: run(policy, trace)
                for name, policy in policies(options.memory_mb * 1_000_000, trace).items()
            }
            if viewers == 1:
                print("| viewers | " + " | ".join(results) + " |")
                print("| --- |" + " --- |" * len(results))
            cells = [f"{hits:.3f} / {amplification:.2f}" for hits, amplification in results.values()]
            print(f"| {viewers} | " + " | ".join(cells) + " |", flush=True)
            worst = max(worst, (results["ours"][1], results["LRU"][1]))
        figures.append(
            Figure(
                what=f"fetched per byte served, 1 to 8 viewers, the worst, segments of {label}",
                value=worst[0],
                peer=worst[1],
                peer_name="LRU",
                at_most=AMPLIFICATION,
            )
        )
    return show(figures)


if __name__ == "__main__":
    sys.exit(main())
