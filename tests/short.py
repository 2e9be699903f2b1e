"""The further runs of CI, on other versions, are short: SHORT is set in their environment."""

from __future__ import annotations

import os

SHORT = bool(os.environ.get("SHORT"))


def times(full: int, short: int) -> int:
    """How often a check repeats, or on how many rows: *full* was seen once when it is *short*."""
    return short if SHORT else full
