# SPDX-License-Identifier: MIT
"""Numbered SQL files, run in order; see ``tgsyncd.catalog.migrate``."""
