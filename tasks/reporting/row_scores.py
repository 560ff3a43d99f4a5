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
from tasks.storage.durable import digest_of

SCORES_FILE = "scores.json"
"""Artifact of the recipe's run; numbers and record ids, nothing out of the records."""


@dataclass(frozen=True)
class RowScores:
    """What each option of a run scored on each test record."""

    metric: Metric
    """The one that decides."""
    metric_identity: Any
    """What its scores depend on, from `tasks.metrics.metric_identity`; JSON."""
    confidence: float
    """Two-sided level of the recipe's intervals."""
    groups: Mapping[str, int]
    """A number for each record's group, by record id, in the order of the scores."""
    scores: Mapping[str, Sequence[float]]
    """By option."""

    def of(self, option: str, record_ids: Sequence[str]) -> list[float]:
        """The option's scores on these records, which the run has."""
        by_record = dict(zip(self.groups, self.scores[option], strict=True))
        return [by_record[record_id] for record_id in record_ids]


def row_scores(
    cards: Sequence[Mapping[str, Any]], records: Sequence[Record], *, metric_identity: Any, confidence: float
) -> RowScores:
    """Put together what scorecards (in JSON form) say of the records that they were made on.

    Raises:
        ValueError: they were made on other records, or in another order.
    """
    expected = digest_of([record.record_id for record in records])
    if any(card["records_digest"] != expected for card in cards):
        raise ValueError("the scorecards are not of these records")
    numbers: dict[str, int] = {}
    groups = {record.record_id: numbers.setdefault(record.group, len(numbers)) for record in records}
    scores = {card["name"]: card["row_scores"] for card in cards}
    return RowScores(cards[0]["metric"], metric_identity, confidence, groups, scores)


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
        raise DataError(
            f"one run goes by {first.metric}, the other by {second.metric}; give both the same evaluation.metric and "
            "run them again"
        )
    if first.metric_identity != second.metric_identity:
        raise DataError(
            f"{first.metric} means two things: another schema, another version of its code; run both again with one"
        )
    shared = [record_id for record_id in first.groups if record_id in second.groups]
    if not shared:
        raise DataError(
            "the two runs have no test record in common; they need the same data (metadata columns included), split in "
            "the same way"
        )
    pairs = {(first.groups[record_id], second.groups[record_id]) for record_id in shared}
    if not len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}):
        raise DataError("the two runs group the same test records differently; give both the same data.group_by")
    return shared


def compare_runs(
    first: RowScores, second: RowScores, options: tuple[str, str], shared: Sequence[str]
) -> PairedDifference:
    """Paired difference of an option of the first run minus one of the second, on the records they share.

    Its level is the higher one of the two recipes.
    """
    return paired_difference(
        first.of(options[0], shared),
        second.of(options[1], shared),
        [str(first.groups[record_id]) for record_id in shared],
        binary=is_binary(first.metric),
        confidence=max(first.confidence, second.confidence),
    )
