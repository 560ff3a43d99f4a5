"""The scores of single test records, kept with a run, so that two runs can be compared on the records they share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from configs.errors import DataError
from configs.metric_names import Metric
from tasks.data.records import Record
from tasks.metrics.intervals import PairedDifference, paired_difference
from tasks.metrics.task_metrics import is_binary

SCORES_FILE = "scores.json"
"""Artifact of the recipe's run; ids and scores, no text."""


@dataclass(frozen=True)
class RowScores:
    """What each option of a run scored on each test record."""

    metric: Metric
    """The one that decides."""
    groups: Mapping[str, str]
    """The group of each record, by record id, in the order of the scores."""
    scores: Mapping[str, Sequence[float]]
    """By option."""

    def of(self, option: str, record_ids: Sequence[str]) -> list[float]:
        """The option's scores on these records.

        Raises:
            DataError: the run has no such option.
        """
        if option not in self.scores:
            raise DataError(f"the run has no option {option!r}; it has {', '.join(self.scores)}")
        by_record = dict(zip(self.groups, self.scores[option], strict=True))
        return [by_record[record_id] for record_id in record_ids]


def row_scores(cards: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> RowScores:
    """Put together what the scorecards (in JSON form) say of the records, which are in their order."""
    groups = {record.record_id: record.group for record in records}
    return RowScores(cards[0]["metric"], groups, {card["name"]: card["row_scores"] for card in cards})


def row_scores_as_text(scores: RowScores) -> str:
    """The content of `SCORES_FILE`."""
    return json.dumps(asdict(scores))


def row_scores_from_text(text: str) -> RowScores:
    """Read back what `row_scores_as_text` gave."""
    return RowScores(**json.loads(text))


def shared_records(first: RowScores, second: RowScores) -> list[str]:
    """Ids of the records that both runs scored, in the first one's order.

    Raises:
        DataError: the two can't be compared: other metrics, no common records, or records grouped in another way.
    """
    if first.metric != second.metric:
        raise DataError(f"one run goes by {first.metric}, the other by {second.metric}; give both evaluation.metric")
    shared = [record_id for record_id in first.groups if record_id in second.groups]
    if not shared:
        raise DataError("the two runs have no test record in common; they need the same data, split in the same way")
    if any(first.groups[record_id] != second.groups[record_id] for record_id in shared):
        raise DataError("the two runs group the same test records differently; give both the same data.group_by")
    return shared


def compare_runs(
    first: RowScores, second: RowScores, options: tuple[str, str], *, confidence: float
) -> PairedDifference:
    """Paired difference of an option of the first run minus one of the second, on the records they share.

    Raises:
        DataError: as `shared_records`, or a run has no such option.
    """
    shared = shared_records(first, second)
    return paired_difference(
        first.of(options[0], shared),
        second.of(options[1], shared),
        [first.groups[record_id] for record_id in shared],
        binary=is_binary(first.metric),
        confidence=confidence,
    )
