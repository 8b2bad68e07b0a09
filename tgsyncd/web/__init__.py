# SPDX-License-Identifier: MIT
"""Static files: the page with a player, and the built-in test stream."""
