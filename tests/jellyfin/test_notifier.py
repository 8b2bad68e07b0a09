# SPDX-License-Identifier: MIT
"""What Jellyfin is told, over real HTTP: exactly the expected calls, at the expected simulated times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from tests.fakes.jellyfin_server import JellyfinServer
from tgsyncd.jellyfin import prober
from tgsyncd.jellyfin.check import check_jellyfin
from tgsyncd.jellyfin.client import JellyfinClient, JellyfinError, JellyfinRefused, build_client
from tgsyncd.jellyfin.memory import Kept, Memory
from tgsyncd.jellyfin.notifier import MAX_PENDING, JellyfinNotifier
from tgsyncd.jellyfin.settings import JellyfinSettings, PathMapping

if TYPE_CHECKING:
    from collections.abc import Callable

UPDATED = "POST /Library/Media/Updated"
FOLDERS = "GET /Library/VirtualFolders"
ITEMS = "GET /Items"
OURS = Path("/srv/films")
FILM = OURS / "Film (1999)" / "Film (1999).strm"
THEIR_FILM = "/media/films/Film (1999)/Film (1999).strm"


class Home:
    """A Jellyfin, our notifier, and the clock that both of ours wait on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.jellyfin = JellyfinServer(reactor)
        self.notifier: JellyfinNotifier = None
        self.port = 0

    async def open(self, *, api_key: str = "the-key", probe: bool = True, first_look_s: float = 75.0) -> None:
        await self.jellyfin.start()
        self.port = self.jellyfin.port
        self.jellyfin.add_library("Films", "/media/films")
        settings = JellyfinSettings(
            url=self.jellyfin.url,
            api_key=api_key,
            mappings=(PathMapping(ours=OURS, theirs="/media/films"),),
            probe_after_publish=probe,
            first_look_s=first_look_s,
        )
        self.http = build_client(reactor)
        self.client = JellyfinClient(settings, http=self.http, clock=self.clock)
        self.settings = settings
        self.notifier = JellyfinNotifier(settings, self.client, self.clock)

    def restart(self, memory: Memory) -> None:
        """What the next start of the daemon does."""
        self.notifier = JellyfinNotifier(self.settings, self.client, self.clock)
        self.notifier.resume(memory)

    async def quiet(self) -> None:
        """Wait until what was begun has ended: nothing runs that no timer holds."""
        await until(
            lambda: self.notifier._announcing._running is None and self.notifier._probing._running is None
        )

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, with all HTTP done in between."""
        end_s = self.clock.seconds() + seconds
        while True:
            await self.quiet()
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            next_s = min([*due, end_s])
            if next_s >= end_s:
                self.clock.advance(end_s - self.clock.seconds())
                await self.quiet()
                return
            self.clock.advance(max(0.0, next_s - self.clock.seconds()) + 1e-6)

    async def close(self) -> None:
        closing = Deferred.fromCoroutine(self.notifier.close())
        self.clock.advance(5.0)
        await closing
        await self.http._agent._pool.closeCachedConnections()
        if self.jellyfin._port is not None:
            await self.jellyfin.stop()


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await deferLater(reactor, 0.002, lambda: None)


@pytest_twisted.async_yield_fixture
async def home():
    each = Home()
    yield each
    await each.close()


@pytest.fixture
def log():
    """Every line for the owner."""
    lines: list[str] = []

    def observe(event):
        from twisted.logger import formatEvent

        if event["log_level"].name in {"warn", "info", "error", "critical"} and "tgsyncd" in str(
            event.get("log_namespace")
        ):
            lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.ensureDeferred
async def test_a_new_film_is_announced_found_and_looked_into_once(home):
    """Four calls, each at its time, and none after them."""
    await home.open()
    await home.notifier.notify([FILM.with_suffix(".nfo"), FILM])
    await home.pass_time(4.9)
    assert home.jellyfin.calls == []

    await home.pass_time(0.2)
    assert home.jellyfin.calls == [UPDATED]
    assert home.jellyfin.updates() == [[{"Path": THEIR_FILM, "UpdateType": "Modified"}]]

    item = home.jellyfin.add_item(THEIR_FILM)
    await home.pass_time(59.0)
    assert home.jellyfin.calls == [UPDATED]

    await home.pass_time(17.0)
    assert home.jellyfin.calls == [UPDATED, FOLDERS, ITEMS, f"GET /Items/{item.id}/PlaybackInfo"]
    listing = home.jellyfin.requests[2].parameters
    assert listing["Fields"] == "Path"
    assert listing["ParentId"] == item.library_id

    await home.pass_time(86_400.0)
    assert len(home.jellyfin.calls) == 4
    assert item.probed == 1
    assert home.notifier.waiting == 0


@pytest_twisted.ensureDeferred
async def test_every_call_carries_the_key_in_the_header_alone(home):
    """As 'MediaBrowser Token', which works in every version; never in a URL, which logs keep."""
    await home.open()
    await home.notifier.notify([FILM])
    home.jellyfin.add_item(THEIR_FILM)
    await home.pass_time(100.0)

    assert {call.authorization for call in home.jellyfin.requests} == {'MediaBrowser Token="the-key"'}
    assert all("the-key" not in str((call.path, call.parameters)) for call in home.jellyfin.requests)


@pytest_twisted.ensureDeferred
async def test_what_gathers_is_one_call(home):
    """500 videos that are published within five seconds."""
    await home.open(probe=False)
    for number in range(500):
        base = OURS / f"Film {number}" / f"Film {number}"
        await home.notifier.notify(
            [Path(f"{base}.en.srt"), Path(f"{base}-poster.jpg"), Path(f"{base}.nfo"), Path(f"{base}.strm")]
        )
        home.clock.advance(0.005)
    await home.pass_time(60.0)

    assert home.jellyfin.calls == [UPDATED]
    (updates,) = home.jellyfin.updates()
    assert [update["Path"] for update in updates] == [
        f"/media/films/Film {number}/Film {number}.strm" for number in range(500)
    ]


@pytest_twisted.ensureDeferred
async def test_a_steady_stream_of_changes_is_told_every_few_seconds(home):
    """The window is fixed: one more change does not begin it anew."""
    await home.open(probe=False)
    for number in range(30):
        await home.notifier.notify([OURS / f"{number}.strm"])
        await home.pass_time(1.0)

    assert 5 <= len(home.jellyfin.calls) <= 7


@pytest_twisted.ensureDeferred
async def test_a_removed_video_is_told_and_not_looked_for(home):
    """Nor is one that was published a moment before."""
    await home.open()
    await home.notifier.notify([FILM])
    await home.pass_time(6.0)
    await home.notifier.notify([FILM, FILM.with_suffix(".nfo")], removed=True)
    await home.pass_time(10_000.0)

    assert home.jellyfin.calls == [UPDATED, UPDATED]
    assert home.jellyfin.updates()[1] == [{"Path": THEIR_FILM, "UpdateType": "Deleted"}]


@pytest_twisted.ensureDeferred
async def test_new_sidecars_alone_are_told_by_their_own_path(home):
    """There is no .strm beside them in the call that would bring them along."""
    await home.open(probe=False)
    await home.notifier.notify([FILM.with_suffix(".en.srt")])
    await home.pass_time(6.0)

    assert home.jellyfin.updates()[0][0]["Path"] == "/media/films/Film (1999)/Film (1999).en.srt"


@pytest_twisted.ensureDeferred
async def test_no_look_where_the_owner_wants_none(home):
    """probe_after_publish: false."""
    await home.open(probe=False)
    await home.notifier.notify([FILM])
    home.jellyfin.add_item(THEIR_FILM)
    await home.pass_time(86_400.0)

    assert home.jellyfin.calls == [UPDATED]


@pytest_twisted.ensureDeferred
async def test_what_jellyfin_knows_already_is_not_looked_into(home):
    """A .strm that is written again keeps its duration there."""
    await home.open()
    await home.notifier.notify([FILM])
    home.jellyfin.add_item(THEIR_FILM, runtime_ticks=1)
    await home.pass_time(86_400.0)

    assert home.jellyfin.calls == [UPDATED, FOLDERS, ITEMS]


@pytest_twisted.ensureDeferred
async def test_one_at_a_time(home):
    """Twenty new videos: each PlaybackInfo lets Jellyfin run an ffprobe, which reads from us."""
    await home.open()
    items = [home.jellyfin.add_item(f"/media/films/{number}.strm") for number in range(20)]
    await home.notifier.notify([OURS / f"{number}.strm" for number in range(20)])
    await home.pass_time(200.0)

    assert [item.probed for item in items] == [1] * 20
    assert home.jellyfin.most_at_once == 1
    assert home.jellyfin.calls[:3] == [UPDATED, FOLDERS, ITEMS]
    assert len(home.jellyfin.calls) == 23


@pytest_twisted.ensureDeferred
async def test_a_video_far_down_the_list_is_found(home):
    """Jellyfin lists 200 at a time, the newest first."""
    await home.open()
    item = home.jellyfin.add_item(THEIR_FILM)
    for number in range(450):
        home.jellyfin.add_item(f"/media/films/{number}.strm", runtime_ticks=1)
    await home.notifier.notify([FILM])
    await home.pass_time(200.0)

    assert home.jellyfin.calls == [
        UPDATED,
        FOLDERS,
        ITEMS,
        ITEMS,
        ITEMS,
        f"GET /Items/{item.id}/PlaybackInfo",
    ]
    assert [call.parameters["StartIndex"] for call in home.jellyfin.requests[2:5]] == ["0", "200", "400"]


@pytest_twisted.ensureDeferred
async def test_a_slow_scan_is_waited_for(home, log):
    """The item appears half an hour later; then it is looked into once."""
    await home.open()
    await home.notifier.notify([FILM])
    await home.pass_time(1200.0)
    item = home.jellyfin.add_item(THEIR_FILM)
    await home.pass_time(86_400.0)

    assert item.probed == 1
    assert log == []


@pytest_twisted.ensureDeferred
async def test_a_video_that_never_appears_is_named_once(home, log):
    """Six looks, and one line that says what may be wrong."""
    await home.open()
    await home.notifier.notify([FILM])
    await home.pass_time(86_400.0)

    assert home.jellyfin.calls.count(ITEMS) == 1 + len(prober.LOOK_AGAIN_S)
    assert home.notifier.waiting == 0
    assert len(log) == 1
    assert THEIR_FILM in log[0]


@pytest_twisted.ensureDeferred
async def test_a_jellyfin_that_is_down_is_told_later(home, log):
    """Down for an hour: one line at its beginning and one at its end, everything told, nothing delayed."""
    await home.open()
    await home.jellyfin.stop()
    await home.notifier.notify([FILM])
    await home.pass_time(1800.0)
    await home.notifier.notify([OURS / "other.strm"])
    await home.pass_time(1800.0)
    assert home.notifier.is_down
    assert len(log) == 1
    assert log[0].startswith("warn: Jellyfin at http://127.0.0.1:")

    await home.jellyfin.start(home.port)
    items = [home.jellyfin.add_item(THEIR_FILM), home.jellyfin.add_item("/media/films/other.strm")]
    await home.pass_time(700.0)

    assert [[update["Path"] for update in each] for each in home.jellyfin.updates()] == [
        [THEIR_FILM, "/media/films/other.strm"]
    ]
    assert [item.probed for item in items] == [1, 1]
    assert log[1:] == ["info: Jellyfin answers again"]
    assert not home.notifier.is_down


@pytest_twisted.ensureDeferred
async def test_asked_rarely_while_it_is_down(home):
    """At most once in ten minutes after the first few."""
    await home.open()
    home.jellyfin.failing = 503
    await home.notifier.notify([FILM])
    await home.pass_time(86_400.0)

    assert 140 <= len(home.jellyfin.calls) <= 155
    assert {*home.jellyfin.calls} == {UPDATED}


@pytest_twisted.ensureDeferred
async def test_down_between_announcing_and_looking(home):
    """A restart of Jellyfin just then loses nothing."""
    await home.open()
    await home.notifier.notify([FILM])
    await home.pass_time(10.0)
    home.jellyfin.failing = 503
    await home.pass_time(600.0)
    home.jellyfin.failing = None
    item = home.jellyfin.add_item(THEIR_FILM)
    await home.pass_time(1300.0)

    assert item.probed == 1


@pytest_twisted.ensureDeferred
async def test_a_video_that_cannot_be_looked_into_stops_no_other(home, log):
    """Jellyfin answers 500 for one: named, not asked again, the next is."""
    await home.open()
    bad, good = home.jellyfin.add_item("/media/films/bad.strm"), home.jellyfin.add_item(THEIR_FILM)
    home.jellyfin.fail_paths[f"/Items/{bad.id}/PlaybackInfo"] = 500
    await home.notifier.notify([OURS / "bad.strm", FILM])
    await home.pass_time(86_400.0)

    assert good.probed == 1
    assert home.jellyfin.calls.count(f"GET /Items/{bad.id}/PlaybackInfo") == 1
    assert len(log) == 1
    assert "bad.strm" in log[0]


@pytest_twisted.ensureDeferred
async def test_a_probe_that_hangs_is_given_up(home, log):
    """After five minutes; the connection is closed and the next video's turn comes."""
    await home.open()
    bad, good = home.jellyfin.add_item("/media/films/bad.strm"), home.jellyfin.add_item(THEIR_FILM)
    hanging = f"/Items/{bad.id}/PlaybackInfo"
    home.jellyfin.silent.add(hanging)
    await home.notifier.notify([OURS / "bad.strm", FILM])
    home.clock.advance(5)
    await home.quiet()
    home.clock.advance(75)
    await until(lambda: f"GET {hanging}" in home.jellyfin.calls)
    # A new film is announced meanwhile: a probe delays nothing.
    await home.notifier.notify([OURS / "new.strm"])
    home.clock.advance(5)
    await until(lambda: home.jellyfin.calls.count(UPDATED) == 2)
    await until(lambda: home.notifier._announcing._running is None)
    home.clock.advance(300)
    await home.quiet()

    assert good.probed == 1
    assert "bad.strm" in log[0]


@pytest_twisted.ensureDeferred
async def test_a_wrong_key_is_told_with_its_remedy(home, log):
    """Once; and tried again later, in case the owner puts it right in Jellyfin."""
    await home.open(api_key="wrong")
    await home.notifier.notify([FILM])
    await home.pass_time(3600.0)

    assert len(log) == 1
    assert "refuses the API key" in log[0]
    assert "wrong" not in log[0]
    with pytest.raises(JellyfinRefused):
        await home.client.server_version()


@pytest_twisted.ensureDeferred
async def test_the_version_needs_the_key(home):
    """What doctor asks."""
    await home.open()
    assert await home.client.server_version() == "10.11.11"
    assert [folder.locations for folder in await home.client.media_folders()] == [("/media/films",)]


@pytest_twisted.ensureDeferred
async def test_something_else_on_that_port_is_no_jellyfin(home):
    """A reverse proxy's front page, for instance."""
    await home.open()
    home.jellyfin.answer = lambda call: (200, "<html>")
    assert await home.client.server_version() == ""
    home.jellyfin.answer = lambda call: (302, None)
    with pytest.raises(JellyfinError, match="answered 302"):
        await home.client.server_version()


@pytest_twisted.ensureDeferred
async def test_stopping_leaves_nothing_behind(home, log):
    """No timer, no request, whatever was under way."""
    await home.open()
    home.jellyfin.silent.add("/Library/Media/Updated")
    await home.notifier.notify([FILM])
    home.clock.advance(5)
    await home.jellyfin.arrived(1)
    await close(home)
    await home.quiet()
    await home.notifier.notify([FILM])

    assert home.clock.getDelayedCalls() == []
    assert log == [
        "info: Jellyfin does not answer and was not told of the last changes; its own scan finds them"
    ]


@pytest_twisted.ensureDeferred
async def test_an_upload_by_hand_tells_its_changes_before_it_ends(home):
    """It ends before five seconds are over; the probe is left to the first Play."""
    await home.open()
    await home.notifier.notify([FILM])
    await home.notifier.close()

    assert home.jellyfin.calls == [UPDATED]
    assert home.clock.getDelayedCalls() == []


async def close(home):
    """Close over a Jellyfin that takes calls and does not answer: three seconds, not more."""
    closing = Deferred.fromCoroutine(home.notifier.close())
    home.clock.advance(5.0)
    await closing


@pytest_twisted.ensureDeferred
async def test_memory_is_bounded_while_jellyfin_is_down(home):
    """Above 20,000 paths the library is told as a whole."""
    await home.open()
    await home.jellyfin.stop()
    await home.notifier.notify([OURS / f"{number}.strm" for number in range(MAX_PENDING + 1)])
    assert home.notifier.waiting == 1

    await home.jellyfin.start(home.port)
    await home.pass_time(60.0)
    assert home.jellyfin.updates() == [[{"Path": "/media/films", "UpdateType": "Modified"}]]


@pytest_twisted.ensureDeferred
async def test_a_jellyfin_that_is_down_is_told_after_a_restart(home, tmp_path, log):
    """Announced, looked for and looked into by the next daemon; and then nothing is left to be kept."""
    await home.open()
    memory = tmp_path / "jellyfin-state.json"
    home.notifier.resume(Memory(memory))
    await home.jellyfin.stop()
    await home.notifier.notify([FILM])
    await home.notifier.notify([OURS / "gone.strm"], removed=True)
    await home.pass_time(600.0)
    killed = memory.read_bytes()
    await home.notifier.close()
    assert json.loads(memory.read_text()) == json.loads(killed)

    await home.jellyfin.start(home.port)
    item = home.jellyfin.add_item(THEIR_FILM)
    home.restart(Memory(memory))
    await home.pass_time(6.0)
    assert home.jellyfin.updates() == [
        [
            {"Path": THEIR_FILM, "UpdateType": "Modified"},
            {"Path": "/media/films/gone.strm", "UpdateType": "Deleted"},
        ]
    ]
    # Stopped again before the look: the next one looks.
    await home.notifier.close()
    home.restart(Memory(memory))
    await home.pass_time(100.0)
    assert item.probed == 1
    assert len(home.jellyfin.updates()) == 1
    await until(lambda: not memory.exists())

    home.restart(Memory(memory))
    await home.pass_time(86_400.0)
    assert item.probed == 1
    assert home.jellyfin.calls == [UPDATED, FOLDERS, ITEMS, f"GET /Items/{item.id}/PlaybackInfo"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 2}', '{"version": 1, "pending": [], "wanted": 3}']
)
def test_a_torn_state_file_counts_as_empty(tmp_path, text):
    """Jellyfin's own scan finds what is new."""
    path = tmp_path / "state.json"
    path.write_text(text)
    assert Memory(path).load() == Kept()
    assert Memory(tmp_path / "none").load() == Kept()


@pytest_twisted.ensureDeferred
async def test_a_state_file_that_cannot_be_written_is_said_once(home, tmp_path, log):
    """A full disk: Jellyfin is told all the same."""
    await home.open(probe=False)
    home.notifier.resume(Memory(tmp_path / "nowhere" / "state.json"))
    for number in range(5):
        await home.notifier.notify([OURS / f"{number}.strm"])
        await home.pass_time(10.0)
    assert len(home.jellyfin.updates()) == 5
    assert len(log) == 1
    assert "will not survive a restart" in log[0]


@pytest_twisted.ensureDeferred
async def test_many_videos_that_never_appear_are_one_line(home, log):
    """A library with a wrong jellyfin_path."""
    await home.open()
    await home.notifier.notify([OURS / f"{number}.strm" for number in range(300)])
    await home.pass_time(86_400.0)

    assert home.notifier.waiting == 0
    assert len(log) == 1
    assert "and 299 others" in log[0]


@pytest.mark.parametrize(
    ("mappings", "path", "theirs"),
    [
        ((), "/srv/a/b.strm", "/srv/a/b.strm"),
        ((("/srv", "/media"),), "/srv/a/b.strm", "/media/a/b.strm"),
        ((("/srv", "/media/"),), "/srv/a/b.strm", "/media/a/b.strm"),
        ((("/srv", "/media"), ("/srv/a", "/other")), "/srv/a/b.strm", "/other/b.strm"),
        ((("/srv", r"D:\Media"),), "/srv/a/b.strm", r"D:\Media\a\b.strm"),
        ((("/srv", "/media"),), "/srvx/b.strm", "/srvx/b.strm"),
    ],
)
def test_paths_as_jellyfin_sees_them(mappings, path, theirs):
    """The longest mapping around a path decides; without one the path is the same there."""
    settings = JellyfinSettings(
        url="http://j", api_key="k", mappings=tuple(PathMapping(ours=Path(a), theirs=b) for a, b in mappings)
    )
    assert settings.their_path(Path(path)) == theirs


def test_the_key_is_not_shown():
    """Settings may end in a log or a traceback."""
    assert "secret" not in repr(JellyfinSettings(url="http://j", api_key="secret"))


@pytest_twisted.ensureDeferred
async def test_a_folder_that_jellyfin_does_not_have_is_named(home):
    """As it would have to be called there, with what Jellyfin has instead."""
    await home.open()
    settings = home.client._settings
    roots = ["/media/films", "/media/films/new/", "/srv/shows", "/media/films2"]
    version, troubles = await check_jellyfin(home.client, settings, roots)

    assert version == "10.11.11"
    assert [trouble.split(" holds ")[1].partition(":")[0] for trouble in troubles] == [
        "/srv/shows",
        "/media/films2",
    ]
    assert "its folders: /media/films)" in troubles[0]
