# SPDX-License-Identifier: MIT
"""``doctor`` asks a Jellyfin over real HTTP: address, key, libraries."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.fakes.jellyfin_server import JellyfinServer
from tgsyncd.cli.jellyfin_checks import examine_jellyfin, judge_version
from tgsyncd.config.load import load_config
from tgsyncd.maintenance.doctor import Level


@pytest.fixture
def configured(tmp_path):
    """Return a Config with two libraries, one of which Jellyfin calls otherwise."""

    def configured(url, key="the-key"):
        (tmp_path / "key").write_text(f"{key}\n")
        (tmp_path / "key").chmod(0o600)
        yaml = tmp_path / "tgsyncd.yaml"
        yaml.write_text(
            "libraries:\n"
            "  - {name: Films, source: s1, publish: /srv/films, jellyfin_path: /media/films}\n"
            "  - {name: Shows, source: s2, publish: /srv/shows}\n"
            f"jellyfin: {{url: '{url}', api_key_file: key}}\n"
        )
        return load_config(yaml, environ={}, flags={}, home=tmp_path, folder=tmp_path).config

    return configured


@pytest_twisted.async_yield_fixture
async def jellyfin():
    server = JellyfinServer(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_all_is_well(jellyfin, configured):
    """One line; the key goes nowhere but to Jellyfin."""
    jellyfin.add_library("Films", "/media/films")
    jellyfin.add_library("Shows", "/srv")
    (finding,) = await examine_jellyfin(configured(jellyfin.url), reactor=reactor)
    assert finding.level is Level.OK
    assert "10.11.11 answers, and accepts the API key" in finding.message
    assert jellyfin.calls == ["GET /System/Info", "GET /Library/VirtualFolders"]
    assert "the-key" not in str(finding)


@pytest_twisted.ensureDeferred
async def test_a_folder_that_is_in_no_library_is_a_warning(jellyfin, configured):
    """By the name that Jellyfin would have to know, and the ones that it knows."""
    jellyfin.add_library("Shows", "/srv/shows")
    good, missing = await examine_jellyfin(configured(jellyfin.url), reactor=reactor)
    assert (good.level, missing.level) == (Level.OK, Level.WARNING)
    assert "/media/films" in missing.message
    assert "jellyfin_path" in missing.remedy
    assert "/srv/shows" in missing.remedy


@pytest_twisted.ensureDeferred
async def test_a_wrong_key_and_a_wrong_address_are_problems(jellyfin, configured):
    """Each with its remedy."""
    (refused,) = await examine_jellyfin(configured(jellyfin.url, key="another"), reactor=reactor)
    assert refused.level is Level.PROBLEM
    assert "refuses the API key" in refused.message
    assert "dashboard" in refused.remedy
    (nobody,) = await examine_jellyfin(configured("http://127.0.0.1:9"), reactor=reactor)
    assert nobody.level is Level.PROBLEM
    assert "jellyfin.url" in nobody.remedy


@pytest_twisted.ensureDeferred
async def test_the_verb_asks_jellyfin_and_the_strm(tgsyncd, jellyfin, configured):
    """Both are in what it prints, and a problem with either is exit code 10."""
    configured(jellyfin.url, key="another")
    library = tgsyncd.folder / "films"
    library.mkdir()
    (library / "Film.strm").write_text("http://203.0.113.5/playlist/film.m3u8\n")
    yaml = (tgsyncd.folder / "tgsyncd.yaml").read_text().replace("/srv/films", str(library))
    (tgsyncd.folder / "tgsyncd.yaml").write_text(f"{yaml}server: {{listen: 127.0.0.1, port: 0}}\n")
    tgsyncd.run = lambda main, _shell: blockingCallFromThread(
        reactor, lambda: Deferred.fromCoroutine(main(reactor))
    )

    assert await deferToThread(tgsyncd, "doctor", "-c", "tgsyncd.yaml") == 10
    assert "PROBLEM Jellyfin at http://127.0.0.1" in tgsyncd.out
    assert "refuses the API key" in tgsyncd.out
    assert "http://203.0.113.5, is none of server.public_urls" in tgsyncd.out


@pytest_twisted.ensureDeferred
async def test_no_jellyfin_is_no_finding(tmp_path):
    """Nothing is asked of anybody."""
    config = load_config(None, environ={}, flags={}, home=tmp_path, folder=tmp_path).config
    assert await examine_jellyfin(config, reactor=reactor) == []


@pytest.mark.parametrize(
    ("version", "level"),
    [("10.8.13", Level.WARNING), ("", Level.WARNING), ("10.9.0", Level.OK), ("12.0.1", Level.OK)],
)
def test_versions(version, level):
    """What was never tried is said."""
    assert judge_version("Jellyfin", version).level is level
