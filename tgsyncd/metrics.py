# SPDX-License-Identifier: MIT
"""
Numbers for Prometheus.

Labels are statuses, results, places and names of jobs: written in the program, so that they do not grow with
the library. No video, file, chat, bot or client is a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tgsyncd import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tgsyncd.model import CatalogStats

__all__ = ["render_metrics"]

STATUSES = ("active", "processing", "error")


def render_metrics(
    stats: CatalogStats,
    service: Mapping[str, Any] | None,
    *,
    cache: Mapping[str, Any] | None = None,
    connections: int = 0,
) -> bytes:
    """
    Return the metrics as text.

    ``service`` is what ``tgsyncd run`` reports of itself, if it runs; ``cache`` what the cache does, if
    there is one.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    found = [*_library(stats), _gauge("connections", "Connections of players and others.", connections)]
    if cache:
        found += _cache(cache)
    if service is not None:
        found += _service(service)
    registry.register(_Collected(found))
    text: bytes = generate_latest(registry)
    return text


class _Collected:
    """What Prometheus' library asks for: metrics that are there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tgsyncd_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tgsyncd_{name}", text, value=float(value))


def _library(stats: CatalogStats) -> Iterator[Metric]:
    version = GaugeMetricFamily("tgsyncd_build_info", "Which tgsyncd this is.", labels=["version"])
    version.add_metric([__version__], 1)
    yield version
    videos = GaugeMetricFamily("tgsyncd_videos", "Videos by status.", labels=["status"])
    for status in STATUSES:
        videos.add_metric([status], stats.videos_by_status.get(status, 0))
    yield videos
    for name, value, text in (
        ("segments", stats.segments, "Media segments."),
        ("documents", stats.documents, "Documents in the store."),
        ("stored_bytes", stats.stored_bytes, "Bytes in the store."),
        ("deletions_owed", stats.deletions_owed, "Documents that the store has yet to delete."),
        ("uploads_open", stats.intents_open, "Uploads begun and not yet recorded."),
        ("catalog_bytes", stats.file_bytes, "Size of the catalog."),
    ):
        yield _gauge(name, text, value)


def _cache(cache: Mapping[str, Any]) -> Iterator[Metric]:
    asked = CounterMetricFamily(
        "tgsyncd_segment_requests",
        "Requests for segments: here already, on their way already, or to be fetched.",
        labels=["result"],
    )
    for result, key in (("hit", "hits"), ("joined", "joined"), ("miss", "misses")):
        asked.add_metric([result], cache[key])
    yield asked
    for name, key, text in (
        ("served_bytes", "bytes_served", "Bytes sent to players."),
        ("fetched_bytes", "bytes_fetched", "Bytes fetched from the store."),
        ("fetches", "fetches", "Segments fetched from the store."),
        ("fetches_ahead", "fetches_ahead", "Of them, before anybody asked."),
        ("fetches_corrupt", "fetches_corrupt", "Fetches whose bytes were not those that were stored."),
    ):
        yield _counter(name, text, cache[key])
    yield _gauge("viewers", "Videos that are being played.", cache["viewers"])
    yield _gauge("fetches_running", "Segments that are being fetched.", cache["fetches_now"])
    used = GaugeMetricFamily("tgsyncd_cache_bytes", "What the cache holds.", labels=["place"])
    limit = GaugeMetricFamily("tgsyncd_cache_limit_bytes", "What it may hold.", labels=["place"])
    for place in ("memory", "disk", "heads"):
        report = cache.get(place) or {}
        used.add_metric([place], report.get("used_bytes", 0))
        limit.add_metric([place], report.get("limit_bytes", 0))
    yield from (used, limit)


def _service(service: Mapping[str, Any]) -> Iterator[Metric]:
    silent = service["store_silent"]
    for name, value, text in (
        ("healthy", not service["problem"], "1 while reactor, catalog and disk answer."),
        ("store_reachable", silent is None, "0 while Telegram does not answer."),
        (
            "store_silent_since_seconds",
            silent["since_s"] if silent else 0,
            "Since when it does not; 0: it does.",
        ),
        ("stopped_by_trouble", bool(service["trouble"]), "1 while no video is begun: store, disk, ffmpeg."),
        ("queue_length", service["queue_length"], "Files that wait to be stored."),
        ("working_on", len(service["working_on"]), "Videos that are being stored."),
        ("failed_files", len(service["failures"]), "Files that are not stored because something is wrong."),
        ("doubts", len(service["doubts"]), "Disks that seem not to be there."),
        ("stored_since_start", service["stored_since_start"], "Videos stored since the start."),
        ("uptime_seconds", service["uptime_s"], "Time since the start."),
    ):
        yield _gauge(name, text, value)
    # Not "job": Prometheus gives every series a label of that name.
    began = GaugeMetricFamily("tgsyncd_job_last_start_seconds", "When a job last began.", labels=["job_name"])
    took = GaugeMetricFamily("tgsyncd_job_last_duration_seconds", "How long it took.", labels=["job_name"])
    failed = GaugeMetricFamily("tgsyncd_job_failed", "1 when its last run failed.", labels=["job_name"])
    for job in service["jobs"]:
        began.add_metric([job["name"]], job["last_started_at_s"] or 0)
        took.add_metric([job["name"]], job["last_duration_s"] or 0)
        failed.add_metric([job["name"]], float(job["last_failed"]))
    yield from (began, took, failed)
