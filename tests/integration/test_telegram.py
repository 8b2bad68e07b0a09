# SPDX-License-Identifier: MIT
"""The main job with Telegram as the store: a video file becomes a stream that plays, over the emulator."""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.clips import make_clip
from tests.integration.home import decode_errors, in_thread, make_config, running, upload
from tests.integration.players import contradictions_of_all, make_film
from tests.integration.telegram import a_telegram, recorded
from tests.players import matrix

CLIPS = Path(__file__).parents[2] / ".cache" / "clips"


@pytest.mark.parametrize(("bots", "chats"), [(1, 1), (2, 2)])
@pytest_twisted.ensureDeferred
async def test_a_clip_is_stored_verified_published_played_and_deleted(tmp_path, bots, chats):
    """What the chats hold is exactly what the catalog says, byte for byte; in the end nothing is left."""
    film = await in_thread(make_film, matrix.H264_TS)
    async with a_telegram(tmp_path, bots=bots, chats=chats) as telegram:
        async with running(make_config(tmp_path, **telegram.sections())) as app:
            (done,) = await upload(app, film)
            assert done.error is None
            video_id = done.outcome.video_id
            refs = recorded(app, video_id)
            assert len(refs) > 5
            assert sorted((ref.chat_id, ref.message_id) for ref in refs) == telegram.documents()
            for ref in refs:
                assert sha256_in_chat(telegram, ref) == ref.sha256
            rendition = app.catalog.renditions(video_id, 1)[0]
            assert all(each.verified_at_s for each in app.catalog.documents(rendition.rendition_id))
            assert app.strm_path(video_id).read_text() == f"{app.playlist_url(video_id)}\n"

            assert await in_thread(decode_errors, app.playlist_url(video_id)) == ""

            outcome = await app.delete_video(video_id)
            assert (outcome.documents_deleted, outcome.documents_owed) == (len(refs), 0)
            assert telegram.documents() == []
            assert app.strm_path(video_id) is None
            assert not list((tmp_path / "library").rglob("*.strm"))
        assert telegram.emulator.state.posts(telegram.scratch) == []


def sha256_in_chat(telegram, ref) -> str:
    state = telegram.emulator.state
    (document,) = [
        each for each in state.documents(state.chat(ref.chat_id)) if each.message_id == ref.message_id
    ]
    return hashlib.sha256(document.read()).hexdigest()


@pytest_twisted.ensureDeferred
async def test_two_bots_and_two_chats_share_the_work(tmp_path):
    """Each is used; how evenly, however slow the machine, is shown on simulated time."""
    film = await in_thread(make_film, matrix.H264_TS)
    async with a_telegram(tmp_path, bots=2, chats=2) as telegram:
        async with running(make_config(tmp_path, **telegram.sections()), listen=False) as app:
            await upload(app, film)
        used = {(call.bot_id, call.chat_id) for call in telegram.emulator.calls("sendDocument")}
        assert len(used) == 4


@pytest_twisted.ensureDeferred
async def test_the_second_bots_file_ids_are_in_the_catalog(tmp_path):
    """It verified the documents, and could read each from now on if the first were lost."""
    film = await in_thread(make_film, matrix.H264_TS)
    async with a_telegram(tmp_path, bots=2) as telegram:
        async with running(make_config(tmp_path, **telegram.sections()), listen=False) as app:
            (done,) = await upload(app, film)
        async with running(make_config(tmp_path, **telegram.sections()), listen=False) as app:
            for ref in recorded(app, done.outcome.video_id):
                assert sorted(ref.file_ids) == sorted(bot.bot_id for bot in telegram.bots)


def revoke(telegram, bot):
    telegram.emulator.state.revoke_token(bot.bot_id)


def kick(telegram, bot):
    for chat in (*telegram.chats, telegram.scratch):
        telegram.emulator.state.set_member(chat.chat_id, bot, "kicked")
    telegram.emulator.state.expire_paths()
    # Whether a bot may still read what it saw before is not documented: here it may not.
    telegram.emulator.faults.add("temporarily_unavailable", method="getFile", bot_id=bot.bot_id, times=None)


@pytest.mark.parametrize("lose", [revoke, kick])
@pytest_twisted.ensureDeferred
async def test_a_bot_lost_in_the_middle_of_a_film_is_not_noticed_by_the_player(tmp_path, lose):
    """The bot that stored it; the other one has never seen the documents."""
    film = await in_thread(make_film, matrix.H264_TS)
    async with a_telegram(tmp_path, bots=2) as telegram:
        first, second = telegram.bots
        alone = make_config(tmp_path, **telegram.sections(bots=[first]))
        async with running(alone, listen=False) as app:
            (done,) = await upload(app, film)
        config = make_config(tmp_path, segments={"duration": 4.0}, **telegram.sections())
        async with running(config) as app:
            assert all(set(ref.file_ids) == {first.bot_id} for ref in recorded(app, "h.264-ts"))
            before = len(telegram.emulator.calls("download"))
            playing = in_thread(play_slowly, app.playlist_url(done.outcome.video_id))
            watching = Deferred.fromCoroutine(playing)
            while len(telegram.emulator.calls("download")) < before + 3:
                assert not watching.called, "it was over too early"
                await deferLater(reactor, 0.02)
            lose(telegram, first)

            assert await watching == (30 * 24, "")
            readers = Counter(call.bot_id for call in telegram.emulator.calls("download")[before:])
            assert readers[first.bot_id] >= 3
            assert readers[second.bot_id] >= 3


def play_slowly(url):
    """Play at ten times the speed; return the number of pictures and the complaints."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-readrate", "10", "-i", url, "-map", "0:v:0"]
    argv += ["-map", "0:a:0", "-f", "framecrc", "-c:v", "rawvideo", "-c:a", "pcm_s16le", "pipe:1"]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return sum(line.startswith("0,") for line in answer.stdout.splitlines()), answer.stderr


@pytest_twisted.ensureDeferred
async def test_new_tokens_for_all_bots_in_another_order_leave_the_library_intact(tmp_path):
    """A bot is known by its id: nothing is stored again, everything plays, and can be deleted."""
    clip = await in_thread(make_clip, "h264-aac", CLIPS)
    async with a_telegram(tmp_path, bots=3) as telegram:
        async with running(make_config(tmp_path, **telegram.sections()), listen=False) as app:
            (done,) = await upload(app, clip)
        stored = telegram.documents()
        telegram.renew_tokens()
        shuffled = telegram.sections(bots=telegram.bots[::-1])
        async with running(make_config(tmp_path, **shuffled)) as app:
            video_id = done.outcome.video_id
            forwards = len(telegram.emulator.calls("forwardMessage"))
            (again,) = await upload(app, clip)
            assert again.outcome.action == "unchanged"
            assert telegram.documents() == stored
            assert await in_thread(decode_errors, app.playlist_url(video_id)) == ""
            assert len(telegram.emulator.calls("forwardMessage")) == forwards
            assert {call.status for call in telegram.emulator.calls("getFile")} == {200}
            await app.delete_video(video_id)
        assert telegram.documents() == []


@pytest.mark.players
@pytest.mark.slow
@pytest.mark.parametrize("packaging", [matrix.H264_TS, matrix.H264_FMP4])
@pytest_twisted.ensureDeferred
async def test_every_player_plays_seeks_and_reaches_the_end(packaging, tmp_path):
    """The table of players and packagings holds with the documents in a chat too."""
    film = await in_thread(make_film, packaging)
    async with a_telegram(tmp_path, bots=2) as telegram:
        config = make_config(tmp_path, segments={"duration": 4.0}, **telegram.sections())
        async with running(config) as app:
            (done,) = await upload(app, film)

            assert await contradictions_of_all(app, done.outcome.video_id, packaging) == []
