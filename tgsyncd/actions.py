# SPDX-License-Identifier: MIT
"""What the HTTP server may ask of the application: ``playback.settings.Actions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgsyncd import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.daemon import Application
    from tgsyncd.model import VideoId

__all__ = ["Actions"]


class Actions:
    """Answers for one application."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def delete_video(self, video_id: VideoId) -> Mapping[str, object]:
        """Delete a video; return what was done, for JSON."""
        outcome = await self._app.delete_video(video_id)
        return {
            "video_id": outcome.video_id,
            "documents_deleted": outcome.documents_deleted,
            "documents_owed": outcome.documents_owed,
            "files_removed": len(outcome.files_removed),
        }

    def debug(self) -> Mapping[str, object]:
        """Return what ``/debug`` shows of the whole."""
        stats = self._app.catalog.stats()
        return {
            "version": __version__,
            "videos": stats.videos,
            "videos_by_status": dict(stats.videos_by_status),
            "segments": stats.segments,
            "documents": stats.documents,
            "stored_bytes": stats.stored_bytes,
            "deletions_owed": stats.deletions_owed,
            "store": self._app.config.store.kind,
            "cache": self._app.engine.report(),
            "service": self._service(),
        }

    def not_ready(self) -> Sequence[str]:
        """Return why no traffic should come now: what the health check of ``tgsyncd run`` found."""
        service = self._service()
        return (str(service["problem"]),) if service and service["problem"] else ()

    def metrics(self) -> bytes:
        """Return what ``/metrics`` shows, in Prometheus' text format."""
        # Imported here: only who is scraped needs it.
        from tgsyncd.metrics import render_metrics  # noqa: PLC0415

        return render_metrics(
            self._app.catalog.stats(),
            self._service(),
            cache=self._app.engine.report(),
            connections=self._app.connection_count,
        )

    def _service(self) -> Mapping[str, Any] | None:
        report = self._app.report_service
        return None if report is None else report()
