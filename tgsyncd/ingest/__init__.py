# SPDX-License-Identifier: MIT
"""From a source file to a published stream: probe, plan, cut, pack, upload, verify, publish."""
