# SPDX-License-Identifier: MIT
"""Tells Jellyfin what changed in its library, and makes it look into each new video once."""
