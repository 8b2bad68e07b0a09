# SPDX-License-Identifier: MIT
"""From a player's request to the bytes of a segment."""
