# SPDX-License-Identifier: MIT
"""Configuration: read once, validated whole, frozen."""
