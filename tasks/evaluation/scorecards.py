"""The scorecard: what an evaluation found for one option, in one form for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from pydantic import TypeAdapter

from configs.errors import DataError
from configs.schema import Economics, Evaluation
from tasks.data.records import Record
from tasks.evaluation.costs import cost_per_1000_requests, hosting_cost_per_month, machines_needed, training_cost
from tasks.evaluation.slices import EvaluationRows
from tasks.inference.options import Answers, Option, OptionKind
from tasks.metrics.grouped import Floats
from tasks.metrics.intervals import Estimate, mean_interval
from tasks.metrics.task_metrics import Metric, is_binary, macro_f1, score_rows
from tasks.storage.durable import digest_of

_OF_TEXT = tuple(metric for metric in get_args(Metric) if metric != "tool_call_match")


@dataclass(frozen=True)
class SliceRow:
    """An option's metric in one slice."""

    slice: str
    """`label`, `length`, or a metadata column."""
    value: str
    n: int
    groups: int
    """Groups that its records belong to."""
    estimate: Estimate


@dataclass(frozen=True)
class Scorecard:
    """What an evaluation found for one option."""

    name: str
    kind: OptionKind
    metric: Metric
    """The one that decides."""
    estimate: Estimate
    """Of the deciding metric."""
    secondary: dict[str, Estimate]
    """The other metrics."""
    macro_f1: float | None
    """Mean F1 over the labels, without an interval; None without a closed label set."""
    n: int
    groups: int
    """Groups that the test records belong to; `n` where each stands alone."""
    slices: tuple[SliceRow, ...]
    latency_p50_seconds: float | None
    """At batch 1; None where it was not measured."""
    latency_p95_seconds: float | None
    records_per_second: float
    prompt_tokens_mean: float
    output_tokens_mean: float
    training_cost: float
    """In `economics.currency`; 0 for an option that is not trained."""
    pruning_saved_cost: float
    """What the trials that the search stopped early would have cost more."""
    machines: int
    """Needed for `economics.requests_per_month`."""
    hosting_cost_per_month: float
    cost_per_1000_requests: float
    """Hosting, and training spread over the horizon."""
    row_scores: tuple[float, ...]
    """Of the deciding metric, in the order of the records."""
    records_digest: str
    """Of the record ids in order: two scorecards can be paired when it is equal."""


def make_scorecard(
    option: Option,
    answers: Answers,
    records: Sequence[Record],
    *,
    rows: EvaluationRows,
    labels: Sequence[str] | None,
    evaluation: Evaluation,
    economics: Economics,
    training_seconds: float,
    seconds_saved_by_pruning: float,
    seed: int,
) -> Scorecard:
    """Score an option's answers to the test records.

    Args:
        option: What answered.
        answers: One per record, in any order.
        records: The test records that `rows` was made from.
        rows: Their order, groups and slices.
        labels: The closed label set, or None.
        evaluation: Metric, confidence and resamples.
        economics: Prices and load.
        training_seconds: Time spent on training the option and on the search for it; 0 if it is not trained.
        seconds_saved_by_pruning: What the search saved by stopping trials early.
        seed: Of the bootstrap.

    Raises:
        DataError: an answer is missing, or answers a record that is not among `records`.
    """
    outputs = _outputs_in_order(option, answers, rows)
    references = [record.completion for record in records]
    calls_tools = any(record.answer is not None for record in records)
    shown = [metric for metric in get_args(Metric) if calls_tools or metric in (evaluation.metric, *_OF_TEXT)]
    scores = {metric: score_rows(metric, outputs, references) for metric in shown}
    estimates = {metric: _estimate(values, rows.groups, metric, evaluation, seed) for metric, values in scores.items()}
    latencies = answers.latency_seconds
    spent, rate = training_cost(training_seconds, economics), answers.records_per_second
    return Scorecard(
        name=option.name,
        kind=option.kind,
        metric=evaluation.metric,
        estimate=estimates.pop(evaluation.metric),
        secondary=estimates,
        macro_f1=macro_f1(outputs, references) if labels is not None else None,
        n=len(records),
        groups=len(set(rows.groups)),
        slices=_slice_rows(scores[evaluation.metric], rows, evaluation, seed),
        latency_p50_seconds=float(np.quantile(latencies, 0.5)) if latencies else None,
        latency_p95_seconds=float(np.quantile(latencies, 0.95)) if latencies else None,
        records_per_second=rate,
        prompt_tokens_mean=float(np.mean([answer.prompt_tokens for answer in answers.answers])),
        output_tokens_mean=float(np.mean([answer.output_tokens for answer in answers.answers])),
        training_cost=spent,
        pruning_saved_cost=training_cost(seconds_saved_by_pruning, economics),
        machines=machines_needed(economics.requests_per_month, rate),
        hosting_cost_per_month=hosting_cost_per_month(economics.requests_per_month, rate, economics),
        cost_per_1000_requests=cost_per_1000_requests(rate, spent, economics),
        row_scores=tuple(float(score) for score in scores[evaluation.metric]),
        records_digest=digest_of(list(rows.record_ids)),
    )


def scorecard_to_json(scorecard: Scorecard) -> str:
    """The scorecard as JSON text."""
    return TypeAdapter(Scorecard).dump_json(scorecard).decode()


def scorecard_from_json(text: str) -> Scorecard:
    """Read what `scorecard_to_json` wrote.

    Raises:
        pydantic.ValidationError: the text is not a scorecard.
    """
    return TypeAdapter(Scorecard).validate_json(text)


def _outputs_in_order(option: Option, answers: Answers, rows: EvaluationRows) -> list[str]:
    outputs = {answer.record_id: answer.output for answer in answers.answers}
    if len(answers.answers) != len(rows.record_ids) or set(outputs) != set(rows.record_ids):
        raise DataError(
            f"the answers of option {option.name!r} are for other records than the test set: {len(outputs)} answers, "
            f"{len(rows.record_ids)} records, {len(set(outputs) & set(rows.record_ids))} in common; "
            "delete the answers folder and run again"
        )
    return [outputs[record_id] for record_id in rows.record_ids]


def _slice_rows(scores: Floats, rows: EvaluationRows, evaluation: Evaluation, seed: int) -> tuple[SliceRow, ...]:
    return tuple(
        SliceRow(
            slice=part.slice,
            value=part.value,
            n=len(part.rows),
            groups=part.groups_among(rows.groups),
            estimate=_estimate(
                scores[list(part.rows)], [rows.groups[row] for row in part.rows], evaluation.metric, evaluation, seed
            ),
        )
        for part in rows.slices
    )


def _estimate(scores: Floats, groups: Sequence[str], metric: Metric, evaluation: Evaluation, seed: int) -> Estimate:
    return mean_interval(
        scores,
        groups,
        binary=is_binary(metric),
        confidence=evaluation.confidence,
        resamples=evaluation.bootstrap_resamples,
        seed=seed,
    )
