# SPDX-License-Identifier: MIT
"""Numbers for Prometheus. Labels are statuses and names of jobs, which do not grow with the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tgsyncd.model import CatalogStats

__all__ = ["render_metrics"]

STATUSES = ("active", "processing", "error")


def render_metrics(stats: CatalogStats, service: Mapping[str, Any] | None) -> bytes:
    """Return the metrics as text; ``service`` is what ``tgsyncd run`` reports of itself, if it runs."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    _videos(registry, stats)
    if service is not None:
        _service(registry, service)
    text: bytes = generate_latest(registry)
    return text


def _videos(registry: CollectorRegistry, stats: CatalogStats) -> None:
    videos = Gauge("tgsyncd_videos", "Videos by status.", ["status"], registry=registry)
    for status in STATUSES:
        videos.labels(status).set(stats.videos_by_status.get(status, 0))
    for name, value, text in (
        ("segments", stats.segments, "Media segments."),
        ("documents", stats.documents, "Documents in the store."),
        ("stored_bytes", stats.stored_bytes, "Bytes in the store."),
        ("deletions_owed", stats.deletions_owed, "Documents that the store has yet to delete."),
        ("uploads_open", stats.intents_open, "Uploads begun and not yet recorded."),
        ("catalog_bytes", stats.file_bytes, "Size of the catalog."),
    ):
        Gauge(f"tgsyncd_{name}", text, registry=registry).set(value)


def _service(registry: CollectorRegistry, service: Mapping[str, Any]) -> None:
    for name, value, text in (
        ("healthy", not service["problem"], "1 while reactor, catalog and disk answer."),
        ("stopped_by_trouble", bool(service["trouble"]), "1 while no video is begun: store, disk, ffmpeg."),
        ("queue_length", service["queue_length"], "Files that wait to be stored."),
        ("working_on", len(service["working_on"]), "Videos that are being stored."),
        ("failed_files", len(service["failures"]), "Files that are not stored because something is wrong."),
        ("doubts", len(service["doubts"]), "Disks that seem not to be there."),
        ("stored_since_start", service["stored_since_start"], "Videos stored since the start."),
        ("uptime_seconds", service["uptime_s"], "Time since the start."),
    ):
        Gauge(f"tgsyncd_{name}", text, registry=registry).set(float(value))
    began = Gauge("tgsyncd_job_last_start_seconds", "When a job last began.", ["job"], registry=registry)
    took = Gauge("tgsyncd_job_last_duration_seconds", "How long it took.", ["job"], registry=registry)
    failed = Gauge("tgsyncd_job_failed", "1 when its last run failed.", ["job"], registry=registry)
    for job in service["jobs"]:
        began.labels(job["name"]).set(job["last_started_at_s"] or 0)
        took.labels(job["name"]).set(job["last_duration_s"] or 0)
        failed.labels(job["name"]).set(float(job["last_failed"]))
