"""One option against another on the same records."""

from __future__ import annotations

from configs.errors import DataError
from tasks.evaluation.scorecards import Scorecard
from tasks.evaluation.slices import EvaluationRows
from tasks.metrics.intervals import PairedDifference, paired_difference
from tasks.metrics.task_metrics import is_binary
from tasks.storage.durable import digest_of


def compare(candidate: Scorecard, other: Scorecard, *, rows: EvaluationRows, confidence: float) -> PairedDifference:
    """Paired difference of the deciding metric, candidate minus other.

    Raises:
        DataError: the two were not scored by the same metric on the records of `rows`.
    """
    expected = digest_of(list(rows.record_ids))
    for card in (candidate, other):
        if card.records_digest != expected or card.metric != candidate.metric:
            raise DataError(
                f"{candidate.name!r} and {other.name!r} can't be compared: {card.name!r} was scored by {card.metric} "
                f"on {card.n} records that are not the {len(rows.record_ids)} of this test set; score it again on them"
            )
    return paired_difference(
        candidate.row_scores,
        other.row_scores,
        rows.groups,
        binary=is_binary(candidate.metric),
        confidence=confidence,
    )
