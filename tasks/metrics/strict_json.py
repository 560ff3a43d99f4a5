"""JSON as its standard has it: no NaN or Infinity, and no object that says a key twice, since it says two things."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


STRICT_JSON = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
"""Raises ValueError, or RecursionError for what is nested too deeply."""
