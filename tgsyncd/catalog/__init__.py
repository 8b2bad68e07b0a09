# SPDX-License-Identifier: MIT
"""The catalog: one SQLite file that knows every video, segment and document. See docs/catalog.md."""

from __future__ import annotations

from tgsyncd.catalog.catalog import Catalog
from tgsyncd.catalog.lock import CatalogLock
from tgsyncd.catalog.rows import CacheMetadata, CacheUse, Intent

__all__ = ["CacheMetadata", "CacheUse", "Catalog", "CatalogLock", "Intent"]
