# SPDX-License-Identifier: MIT
"""What a configuration that is read again changes while running, and what it says needs a restart."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from pydantic import SecretStr
from twisted.internet import reactor

from tests.integration.home import make_config
from tgsyncd.config.schema import Config
from tgsyncd.notify import Notifier
from tgsyncd.service.reload import FIXED, LIVE, reload, sections_that_differ
from tgsyncd.service.service import Service

JELLYFIN = {"url": "http://jellyfin:8096", "api_key_env": "KEY"}


def changed(**sections) -> Config:
    return Config.model_validate(sections)


@pytest.mark.parametrize(
    ("sections", "obeyed", "waiting"),
    [
        ({}, [], []),
        ({"verify": "none"}, ["verify"], []),
        ({"scan": {"inotify": False}}, [], ["scan.inotify"]),
        ({"scan": {"inotify": False, "cron": "0 3 * * *"}}, ["scan"], ["scan.inotify"]),
        ({"ingest": {"parallel": 3}, "upload": {"bytes_per_s": "1 MB"}}, ["upload"], ["ingest.parallel"]),
        ({"cache": {"memory_bytes": "200 MB"}, "data_dir": "/x"}, [], ["data_dir", "cache"]),
        (
            {"libraries": [{"name": "A", "source": "/a", "publish": "/b"}], "spool": {"max_bytes": "1 GB"}},
            ["libraries", "spool"],
            [],
        ),
    ],
)
def test_what_changes_and_what_waits(sections, obeyed, waiting):
    """By section, and by option where a section has both."""
    assert sections_that_differ(Config(), changed(**sections)) == (obeyed, waiting)


def test_every_section_is_one_or_the_other():
    """A name that is no section would be obeyed by nobody."""
    assert set(LIVE) <= set(Config.model_fields)
    for name, keys in FIXED.items():
        assert name in LIVE
        assert set(keys) <= set(type(getattr(Config(), name)).model_fields)


@asynccontextmanager
async def a_service(config: Config):
    service = await Service.open(reactor, config, notifier=Notifier.from_environ({}))
    service._pool.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest_twisted.ensureDeferred
async def test_sections_reach_those_who_obey_them(tmp_path):
    """The pipeline, the throttle, the jobs, Jellyfin; what is fixed stays as it was everywhere."""
    config = make_config(tmp_path)
    async with a_service(config) as service:
        app = service.app
        assert app.notifier is None
        service._plan_jobs()
        new = config.model_copy(
            update={
                "verify": "none",
                "upload": changed(upload={"bytes_per_s": "1 MB"}).upload,
                "jobs": changed(jobs={"vacuum": ""}).jobs,
                "ingest": changed(ingest={"parallel": 4, "order": "oldest"}).ingest,
                "jellyfin": changed(jellyfin=JELLYFIN).jellyfin.model_copy(
                    update={"api_key": SecretStr("k")}
                ),
                "documents": changed(documents={"max_bytes": "5 MB"}).documents,
            }
        )
        reload(service, lambda: new)
        assert app.pipeline.tools.settings.verify.value == "none"
        assert app.pipeline.tools.settings.plan.limits.document_max_bytes == 5_000_000
        assert app.throttle.limit() == 1_000_000
        assert service.queue.order == "oldest"
        assert (app.config.ingest.parallel, app.config.ingest.order) == (1, "oldest")
        assert app.notifier is not None
        assert app.publisher._notifier is app.notifier
        assert app.notifier._settings.url == "http://jellyfin:8096"

        notifier = app.notifier
        reload(service, lambda: new.model_copy(update={"verify": "full"}))
        assert app.notifier is notifier
        reload(service, lambda: config)
        assert (app.notifier, app.publisher._notifier, app.throttle.limit()) == (None, None, None)
