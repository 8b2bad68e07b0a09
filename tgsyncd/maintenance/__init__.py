# SPDX-License-Identifier: MIT
"""Check, repair and clean up."""
