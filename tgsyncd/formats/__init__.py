# SPDX-License-Identifier: MIT
"""Pure translations to and from the formats of others: FFmpeg's argv and JSON, HLS, Jellyfin."""
