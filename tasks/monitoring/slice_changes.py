"""The old champion and the new candidate, slice by slice, on the same test records. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SliceChange:
    """One slice under two models."""

    slice: str
    value: str
    n: int
    champion: float
    candidate: float
    blocks: bool
    """Whether the candidate is surely worse here than promotion allows (Holm over all slices)."""

    @property
    def difference(self) -> float:
        """Candidate minus champion."""
        return self.candidate - self.champion


def slice_changes(
    champion: Mapping[str, Any], candidate: Mapping[str, Any], compared: Sequence[Mapping[str, Any]]
) -> tuple[SliceChange, ...]:
    """Pair the slices of two scorecards, the largest loss first.

    Args:
        champion: Its scorecard in JSON form.
        candidate: Its scorecard in JSON form, on the same records.
        compared: The decision's slice comparisons in JSON form: they say what blocks.
    """
    before = {_name(row): row["estimate"]["value"] for row in champion["slices"]}
    blocking = {_name(row) for row in compared if row["blocks"]}
    rows = [
        SliceChange(
            row["slice"], row["value"], row["n"], before[_name(row)], row["estimate"]["value"], _name(row) in blocking
        )
        for row in candidate["slices"]
        if _name(row) in before
    ]
    return tuple(sorted(rows, key=lambda row: (row.difference, row.slice, row.value)))


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["slice"]), str(row["value"])
