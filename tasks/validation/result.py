"""What a suite found in a snapshot: counts and row ids, never values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.tracking.shown_text import shortened
from tasks.validation.rules import OnFailure

if TYPE_CHECKING:
    from configs.schema import Data

MOST_ROW_IDS = 50
"""Row ids that an outcome carries; all rows are in the quarantine file."""
ROW_IDS_OF_A_STOP, ROW_IDS_OF_A_NOTE = 10, 3
"""Row ids in a message: of what must be mended, and of what is only told."""
_LONGEST_NAMES = 100


@dataclasses.dataclass(frozen=True)
class RuleOutcome:
    """What one rule found in one column."""

    rule: str
    column: str
    """The column, or several joined by `+` where the rule looks at them together."""
    on_failure: OnFailure
    failed: bool
    count: int
    """Rows at fault."""
    checked: int
    """Rows looked at."""
    row_ids: tuple[str, ...]
    """The first `MOST_ROW_IDS` of the rows at fault."""
    detail: str = ""
    """More, in words and figures."""

    @property
    def share(self) -> float:
        """Rows at fault among the rows looked at, 0 to 1."""
        return self.count / self.checked if self.checked else 0.0


@dataclasses.dataclass(frozen=True)
class ValidationResult:
    """What a suite found in a snapshot, and the snapshot to go on with."""

    snapshot: str
    """Digest of the snapshot that was judged."""
    suite: str
    suite_digest: str
    passed: bool
    """Whether no rule with `on_failure: stop` failed."""
    outcomes: tuple[RuleOutcome, ...]
    not_applicable: tuple[str, ...]
    """Rules that are for another kind of recipe."""
    dropped_ids: tuple[str, ...]
    new_snapshot: str | None
    """Digest of the snapshot without the dropped rows; None when nothing was dropped, or the suite stopped."""
    records: int
    evaluated: int
    """Expectations that Great Expectations evaluated."""
    quarantine: str | None
    """Path of the file with the rows that were stopped or dropped."""

    @property
    def usable_snapshot(self) -> str:
        """Digest of the snapshot that later stages use."""
        return self.new_snapshot or self.snapshot

    @property
    def failures(self) -> tuple[RuleOutcome, ...]:
        """The outcomes that failed, stops first."""
        return failed_first_stops(self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable values."""
        return dataclasses.asdict(self)


def failed_first_stops(outcomes: Sequence[RuleOutcome]) -> tuple[RuleOutcome, ...]:
    """Return the outcomes that failed, stops first."""
    order = {"stop": 0, "drop": 1, "warn": 2}
    return tuple(sorted((outcome for outcome in outcomes if outcome.failed), key=lambda o: order[o.on_failure]))


def source_columns(data: Data) -> dict[str, str]:
    """Return what the user's data calls the columns that a suite judges, where it has its own word."""
    columns = data.columns
    said, answered = columns.prompt, columns.completion
    if columns.messages is not None:
        said = answered = columns.messages
    others = {"metadata": ", ".join(columns.metadata), "group": data.group_by, "split": data.split.column}
    own = {judged: name for judged, name in others.items() if name}
    return {"prompt": said, "last_turn": said, "input": said, "completion": answered, **own}


def describe(outcome: RuleOutcome, *, most_row_ids: int, sources: Mapping[str, str]) -> str:
    """Return one line: rule, column, count, row ids; never values.

    Args:
        outcome: of one rule.
        most_row_ids: so many are shown.
        sources: from `source_columns`.
    """
    shown = outcome.row_ids[:most_row_ids]
    more = f" and {outcome.count - len(shown)} more" if shown and outcome.count > len(shown) else ""
    rows = f"; rows {', '.join(shown)}{more}" if shown else ""
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return (
        f"rule {outcome.rule}, column {_column(outcome.column, sources)}: {outcome.count} of {outcome.checked} rows "
        f"({outcome.share:.1%}){detail}{rows}"
    )


def _column(judged: str, sources: Mapping[str, str]) -> str:
    own = list(dict.fromkeys(sources[name] for name in judged.split("+") if sources.get(name, name) != name))
    return f"{judged} (in your data: {shortened(', '.join(own), _LONGEST_NAMES)})" if own else judged


def stop_message(result: ValidationResult, recipe: str, *, sources: Mapping[str, str]) -> str:
    """Return what stopped the flow and what to do: suite, column, rule, count and row ids, never values.

    Args:
        result: of a suite.
        recipe: the recipe's name.
        sources: from `source_columns`.
    """
    stops = [outcome for outcome in result.failures if outcome.on_failure == "stop"]
    lines = "\n".join(f"  {describe(outcome, most_row_ids=ROW_IDS_OF_A_STOP, sources=sources)}" for outcome in stops)
    where = f"the rows are in {result.quarantine}; " if result.quarantine else ""
    first = stops[0].rule if stops else "<rule>"
    return (
        f"validation of recipe {recipe} stopped: suite {result.suite}, snapshot {result.snapshot[:12]}, "
        f"{len(stops)} failed rule{'s' if len(stops) != 1 else ''} with on_failure: stop\n{lines}\n"
        f"{where}`burnish preview --recipe … --record ID` says which row of the data one is; "
        "mend the data, or change what a rule does in the recipe, such as "
        f"validation.overrides.{first}: drop, warn or off"
    )
