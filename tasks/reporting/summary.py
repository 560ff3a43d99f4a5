"""What a finished run says of itself: the value behind `burnish show`, the terminal summary and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

TINY_BASE = "a tiny random model"
"""What `RunSummary.base` says where the base knows no language."""
SUMMARY_FILE = "summary.json"
"""Artifact of the recipe's run."""


@dataclass(frozen=True)
class StageRow:
    """One stage of the run."""

    name: str
    seconds: float
    reused: bool


@dataclass(frozen=True)
class OptionRow:
    """One option on the test set; `low` and `high` bound the metric's interval."""

    name: str
    kind: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    groups: int = 0
    """Groups of the test records; 0 where an older run did not say."""
    figures: dict[str, float] = field(default_factory=dict)
    """What stands beside the deciding metric and does not decide: other metrics, length, repetition, copying."""


@dataclass(frozen=True)
class RunSummary:
    """A run in small values; JSON through `as_json`."""

    recipe: str
    snapshot: str
    stages: tuple[StageRow, ...]
    options: tuple[OptionRow, ...]
    verdict: dict[str, Any]
    decision: dict[str, Any]
    model: dict[str, Any]
    cost: dict[str, Any]
    peak_rss_mb: float
    run_id: str
    report: str = ""
    recipe_file: str = ""
    """How a command may name the recipe: its absolute path, or the name of a shipped one."""
    overrides: tuple[str, ...] = ()
    """What differed from the recipe's file, each as key=value."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """The values that the search chose for the candidate; empty where nothing was searched."""
    description: str = ""
    base: str = ""
    """The base model, in words."""
    max_test_records: int | None = None
    """The recipe's limit."""
    test_records_found: int | None = None
    """Test records that the source has, before that limit; None where an older run did not say."""
    min_gain: float = 0.0
    """The recipe's `promotion.min_gain`; 0 where an older run did not say."""
    warnings: tuple[str, ...] = ()
    """What to know before the figures are believed, a sentence each."""
    finished_at: str = ""
    """ISO 8601, UTC."""
    details: dict[str, Any] = field(default_factory=dict)
    """What only the HTML report shows: data, validation, trials, slices, outputs, lineage."""

    def as_json(self) -> dict[str, Any]:
        """The documented form of `burnish show --json` (without the report's details)."""
        values = asdict(self)
        values.pop("details")
        return values


def summary_from_json(values: dict[str, Any]) -> RunSummary:
    """Read back what `as_json` gave."""
    rows = {
        "stages": tuple(StageRow(**row) for row in values["stages"]),
        "options": tuple(OptionRow(**row) for row in values["options"]),
    }
    texts = {key: tuple(values.get(key, ())) for key in ("warnings", "overrides")}
    return RunSummary(**{**values, **rows, **texts})
