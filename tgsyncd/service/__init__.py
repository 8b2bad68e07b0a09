# SPDX-License-Identifier: MIT
"""``tgsyncd run``: the application, kept at work unattended."""
