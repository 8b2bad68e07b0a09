# SPDX-License-Identifier: MIT
"""Documents in a Telegram chat, through the Bot API."""
