# SPDX-License-Identifier: MIT
"""Each knob and fault does what it says, and no more."""

from __future__ import annotations

import io
import json

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import ResponseFailed

DATA = bytes(range(256)) * 2000


@pytest_twisted.ensureDeferred
async def test_twenty_messages_a_minute_per_chat_and_bot(rig):
    """The 21st message within a minute is told to wait until the first is a minute old."""
    rig.emulator.knobs.change(messages_per_minute=20)
    for _ in range(20):
        assert (await rig.call("sendMessage", chat_id=rig.channel.chat_id, text="x")).status == 200
    answer = await rig.call("sendMessage", chat_id=rig.channel.chat_id, text="x")
    assert answer.status == 429
    wait_s = answer.body["parameters"]["retry_after"]
    assert answer.body["description"] == f"Too Many Requests: retry after {wait_s}"
    assert answer.headers["retry-after"] == str(wait_s)
    assert 55 <= wait_s <= 60
    # Another bot has its own twenty, another chat too.
    assert (await rig.send(b"x", bot=rig.two)).status == 200
    assert (await rig.send(b"x", chat=rig.scratch)).status == 200
    rig.clock.advance(wait_s)
    assert (await rig.send(b"x")).status == 200


@pytest_twisted.ensureDeferred
async def test_the_minute_slides(rig):
    """With messages a second apart, the wait is until the oldest that is in the way is a minute old."""
    rig.emulator.knobs.change(messages_per_minute=20)
    for _ in range(20):
        assert (await rig.call("sendMessage", chat_id=rig.channel.chat_id, text="x")).status == 200
        rig.clock.advance(1)
    answer = await rig.call("sendMessage", chat_id=rig.channel.chat_id, text="x")
    assert answer.body["parameters"]["retry_after"] == 40
    # A refused message is not counted; two at once wait for the two oldest.
    album = [{"type": "document", "media": f"attach://{name}"} for name in "ab"]
    files = {name: (name, io.BytesIO(b"x")) for name in "ab"}
    answer = await rig.call(
        "sendMediaGroup", files=files, chat_id=str(rig.channel.chat_id), media=json.dumps(album)
    )
    assert answer.body["parameters"]["retry_after"] == 41
    rig.clock.advance(40)
    assert (await rig.call("sendMessage", chat_id=rig.channel.chat_id, text="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_messages_may_be_counted_per_chat(rig):
    """With count_per=chat the bots of a chat share its twenty."""
    rig.emulator.knobs.change(messages_per_minute=4, count_per="chat")
    for bot in (rig.one, rig.two) * 2:
        assert (await rig.send(b"x", bot=bot)).status == 200
    assert (await rig.send(b"x", bot=rig.one)).status == 429
    assert (await rig.send(b"x", bot=rig.two)).status == 429


@pytest_twisted.ensureDeferred
async def test_one_message_a_second(rig):
    """After the burst, messages in one chat are a second apart."""
    rig.emulator.knobs.change(messages_per_s=1.0, burst=2)
    assert (await rig.send(b"x")).status == 200
    assert (await rig.send(b"x")).status == 200
    assert (await rig.send(b"x")).body["parameters"]["retry_after"] in (1, 2)
    rig.clock.advance(2)
    assert (await rig.send(b"x")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_flood_wait_strikes_as_often_as_asked(rig):
    """A forced 429 names its time, up to hours, and hits only its method and bot."""
    rig.emulator.faults.add(
        "flood", method="sendDocument", bot_id=rig.one.bot_id, retry_after_s=10800, times=2
    )
    assert (await rig.call("getMe")).status == 200
    assert (await rig.send(b"x", bot=rig.two)).status == 200
    for _ in range(2):
        assert (await rig.send(b"x")).body["parameters"]["retry_after"] == 10800
    assert (await rig.send(b"x")).status == 200


@pytest_twisted.ensureDeferred
async def test_errors_come_as_json_and_as_html(rig):
    """502 comes from the server as JSON, or from the nginx before it as a page."""
    rig.emulator.faults.add("error", code=502)
    answer = await rig.call("getMe")
    assert (answer.status, answer.body["description"]) == (502, "Bad Gateway")
    rig.emulator.faults.add("html", code=504)
    answer = await rig.call("getMe")
    assert answer.status == 504
    assert b"<h1>504 Gateway Timeout</h1>" in answer.body


@pytest_twisted.ensureDeferred
async def test_an_upload_reset_in_the_middle_stores_nothing(rig):
    """reset_upload cuts the connection while the body comes, and leaves no message."""
    rig.emulator.faults.add("reset_upload", after_bytes=100_000)
    with pytest.raises(Exception):  # noqa: B017  how treq calls it depends on the instant
        await rig.send(DATA)
    assert rig.state.posts(rig.channel) == []
    assert list((rig.state.directory / "incoming").iterdir()) == []
    (record,) = rig.emulator.calls("sendDocument")
    assert record.status == 0
    assert record.fault == "reset_upload"
    assert record.upload_bytes < len(DATA)


@pytest_twisted.ensureDeferred
async def test_a_small_upload_may_be_reset_too(rig):
    """The whole body arrived with its head, and still nothing is stored."""
    rig.emulator.faults.add("reset_upload")
    with pytest.raises(Exception):  # noqa: B017
        await rig.send(b"small")
    assert rig.state.posts(rig.channel) == []
    assert rig.emulator.calls("sendDocument")[0].status == 0


@pytest_twisted.ensureDeferred
async def test_a_lost_acknowledgement_leaves_the_message(rig):
    """The connection breaks after the upload was stored: the client cannot know."""
    rig.emulator.faults.add("lost_acknowledgement", method="sendDocument")
    with pytest.raises(ResponseFailed):
        await rig.send(DATA, caption="orphan")
    (post,) = rig.state.posts(rig.channel)
    assert post.content["caption"] == "orphan"


async def path_of(rig, data):
    document = (await rig.send(data)).result["document"]
    return (await rig.call("getFile", file_id=document["file_id"])).result["file_path"]


@pytest_twisted.ensureDeferred
async def test_a_truncated_download_ends_early(rig):
    """The head promises the whole, the body ends before."""
    path = await path_of(rig, DATA)
    rig.emulator.faults.add("truncate", after_bytes=150_000)
    with pytest.raises(ResponseFailed):
        await rig.download(path)
    (record,) = rig.emulator.calls("download")
    assert record.download_bytes == 150_000
    assert (await rig.download(path)).body == DATA


@pytest_twisted.ensureDeferred
async def test_a_flipped_bit_changes_one_byte(rig):
    """The length is right and one bit is not; the stored file is unharmed."""
    path = await path_of(rig, DATA)
    rig.emulator.faults.add("bit_flip", after_bytes=70_001)
    body = (await rig.download(path)).body
    assert [n for n, (a, b) in enumerate(zip(body, DATA, strict=True)) if a != b] == [70_001]
    assert (await rig.download(path)).body == DATA


@pytest_twisted.ensureDeferred
async def test_a_stalled_download_goes_on_after_its_time(rig):
    """stall_download waits in simulated time, then the rest comes."""
    path = await path_of(rig, DATA)
    rig.emulator.faults.add("stall_download", after_bytes=1000, seconds=120)
    before_s = rig.clock.seconds()
    assert (await rig.download(path)).body == DATA
    assert rig.clock.seconds() - before_s == 120


@pytest_twisted.ensureDeferred
async def test_a_file_may_be_unavailable_for_now(rig):
    """getFile says "temporarily unavailable" as often as told."""
    document = (await rig.send(b"x")).result["document"]
    rig.emulator.faults.add("temporarily_unavailable", method="getFile", times=1)
    answer = await rig.call("getFile", file_id=document["file_id"])
    assert answer.body["description"] == ("Bad Request: wrong file_id or the file is temporarily unavailable")
    assert (await rig.call("getFile", file_id=document["file_id"])).status == 200


@pytest_twisted.ensureDeferred
async def test_bandwidth_and_latency_cost_simulated_time(rig):
    """512 000 bytes at 51 200 a second take ten seconds each way, and no real ones."""
    path = await path_of(rig, DATA)
    assert len(DATA) == 512_000
    rig.emulator.knobs.change(download_bytes_per_s=51_200, latency_s=0.5)
    before_s = rig.clock.seconds()
    assert (await rig.download(path)).body == DATA
    assert rig.clock.seconds() - before_s == pytest.approx(10.5, rel=0.2)
    rig.emulator.knobs.change(upload_bytes_per_s=51_200)
    before_s = rig.clock.seconds()
    assert (await rig.send(DATA)).status == 200
    expected_s = 0.5 + rig.emulator.calls("sendDocument")[-1].upload_bytes / 51_200
    assert rig.clock.seconds() - before_s == pytest.approx(expected_s, rel=0.001)


@pytest_twisted.ensureDeferred
async def test_get_file_takes_longer_for_larger_files(rig):
    """getFile fetches the whole file before it answers."""
    document = (await rig.send(bytes(1 << 20))).result["document"]
    rig.emulator.knobs.change(get_file_s_per_mib=3)
    before_s = rig.clock.seconds()
    assert (await rig.call("getFile", file_id=document["file_id"])).status == 200
    assert rig.clock.seconds() - before_s == 3


@pytest_twisted.ensureDeferred
async def test_equal_sizes_are_throttled(rig):
    """Uploads of one exact size wait for each other; different sizes do not."""
    rig.emulator.knobs.change(same_size_throttle=True)
    before_s = rig.clock.seconds()
    await rig.send(bytes(200_000))
    await rig.send(bytes(200_001))
    assert rig.clock.seconds() == before_s
    answers = await gatherResults([Deferred.fromCoroutine(rig.send(bytes(300_000))) for _ in range(4)])
    assert [answer.status for answer in answers] == [200] * 4
    assert rig.clock.seconds() - before_s == pytest.approx(0.6)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_down_refuses_and_comes_back(rig):
    """Connections are refused while it is down; afterwards it knows what it knew, at the same port."""
    path = await path_of(rig, b"kept")
    url = rig.emulator.url
    await rig.emulator.go_down()
    with pytest.raises(error.ConnectionRefusedError):
        await rig.call("getMe")
    await rig.emulator.come_back()
    assert rig.emulator.url == url
    assert (await rig.download(path)).body == b"kept"


@pytest_twisted.ensureDeferred
async def test_random_faults_follow_the_seed(rig):
    """5 % of errors are about 5 %, and the same ones for the same seed."""
    rig.emulator.faults.add("error", method="getMe", probability=0.05, times=None)
    statuses = [(await rig.call("getMe")).status for _ in range(200)]
    assert 2 <= statuses.count(502) <= 20


@pytest_twisted.ensureDeferred
async def test_a_stalled_call_ends_when_the_server_goes_down(rig):
    """ "For ever" leaves nothing behind."""
    rig.clock.stop_auto_advance()
    rig.emulator.faults.add("stall", method="getMe")
    waiting = Deferred.fromCoroutine(rig.call("getMe"))
    while not rig.emulator.calls("getMe"):
        turn: Deferred[None] = Deferred()
        rig.reactor.callLater(0, turn.callback, None)
        await turn
    await rig.emulator.go_down()
    with pytest.raises(Exception):  # noqa: B017
        await waiting
    assert rig.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_eight_uploads_at_once_are_all_stored(rig):
    """Parallel uploads do not get into each other's way, and the record knows how many there were."""
    blobs = [bytes([n]) * (300_000 + n) for n in range(8)]
    answers = await gatherResults(
        [Deferred.fromCoroutine(rig.send(blob, name=f"{n}.bin")) for n, blob in enumerate(blobs)]
    )
    ids = [answer.result["document"]["file_id"] for answer in answers]
    for blob, file_id in zip(blobs, ids, strict=True):
        file = (await rig.call("getFile", file_id=file_id)).result
        assert (await rig.download(file["file_path"])).body == blob
    assert rig.emulator.peaks["senddocument"] >= 2


@pytest_twisted.ensureDeferred
async def test_an_upload_over_the_limit_is_refused(rig):
    """413 as JSON, and nothing is kept."""
    rig.emulator.knobs.change(upload_limit_bytes=100_000)
    answer = await rig.call(
        "sendDocument", files={"document": ("a.bin", io.BytesIO(DATA))}, chat_id=str(rig.channel.chat_id)
    )
    assert (answer.status, answer.body["description"]) == (413, "Request Entity Too Large")
    assert list((rig.state.directory / "incoming").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_client_that_gives_up_on_a_stall_is_forgotten(rig):
    """After the client left, nothing of the stalled call holds or pulls the clock."""
    rig.emulator.faults.add("stall", method="getMe")
    waiting = Deferred.fromCoroutine(rig.call("getMe"))
    rig.clock.callLater(60, waiting.cancel)
    with pytest.raises(Exception):  # noqa: B017  CancelledError, or what treq makes of it
        await waiting
    assert (await rig.call("getChat", chat_id=rig.channel.chat_id)).status == 200
    assert rig.clock.seconds() == 60
    assert all(record.is_over for record in rig.emulator.calls())
    assert rig.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_stalled_upload_goes_on_and_is_whole(rig):
    """stall_upload stops reading in the middle; afterwards every byte is there."""
    rig.emulator.faults.add("stall_upload", after_bytes=100_000, seconds=30)
    assert (await rig.send(DATA)).status == 200
    assert rig.clock.seconds() == 30
    (document,) = rig.state.documents(rig.channel)
    assert document.read() == DATA
