# SPDX-License-Identifier: MIT
"""Where documents live: a directory, or a Telegram chat."""
