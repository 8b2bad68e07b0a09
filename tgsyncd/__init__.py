# SPDX-License-Identifier: MIT
"""tgsyncd: a Telegram chat as the disk behind a Jellyfin library."""

__version__ = "0.1.0"
