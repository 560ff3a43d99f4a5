"""The scorecard: what an evaluation found for one option, in one form for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from configs.metric_names import Metric
from configs.schema import Economics, Evaluation
from tasks.evaluation.costs import cost_per_1000_requests, hosting_cost_per_month, machines_needed, training_cost
from tasks.evaluation.scored_answers import ScoredAnswers
from tasks.evaluation.slices import EvaluationRows
from tasks.inference.options import Answers, OptionKind
from tasks.metrics.grouped import Floats
from tasks.metrics.intervals import Estimate, mean_interval
from tasks.metrics.task_metrics import is_binary
from tasks.storage.durable import digest_of


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
    figures: dict[str, float]
    """Of free text `tasks.metrics.answer_figures`, and `tasks.metrics.consistency` where that was asked for."""
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
    scored: ScoredAnswers,
    *,
    rows: EvaluationRows,
    evaluation: Evaluation,
    economics: Economics,
    training_seconds: float,
    seconds_saved_by_pruning: float,
    seed: int,
) -> Scorecard:
    """Sum up an option's scored answers to the test records.

    Args:
        scored: From `score_answers`, on the records of `rows`.
        rows: The records' order, groups and slices.
        evaluation: Metric, confidence and resamples.
        economics: Prices and load.
        training_seconds: Machine time spent on training the option and on the search for it; 0 if it is not trained.
        seconds_saved_by_pruning: What the search saved by stopping trials early.
        seed: Of the bootstrap.
    """
    deciding = scored.scores[evaluation.metric]
    estimates = {
        metric: _estimate(values, rows.groups, metric, evaluation, seed) for metric, values in scored.scores.items()
    }
    spent = training_cost(training_seconds, economics)
    return Scorecard(
        name=scored.option.name,
        kind=scored.option.kind,
        metric=evaluation.metric,
        estimate=estimates.pop(evaluation.metric),
        secondary=estimates,
        macro_f1=scored.macro_f1,
        figures=dict(scored.figures),
        n=len(rows.record_ids),
        groups=len(set(rows.groups)),
        slices=_slice_rows(deciding, rows, evaluation, seed),
        training_cost=spent,
        pruning_saved_cost=training_cost(seconds_saved_by_pruning, economics),
        row_scores=tuple(float(score) for score in deciding),
        records_digest=digest_of(list(rows.record_ids)),
        **_speed(scored.answers),
        **_hosting(scored.answers.records_per_second, spent, economics),
    )


def _speed(answers: Answers) -> dict[str, Any]:
    latencies = answers.latency_seconds
    return {
        "latency_p50_seconds": float(np.quantile(latencies, 0.5)) if latencies else None,
        "latency_p95_seconds": float(np.quantile(latencies, 0.95)) if latencies else None,
        "records_per_second": answers.records_per_second,
        "prompt_tokens_mean": float(np.mean([answer.prompt_tokens for answer in answers.answers])),
        "output_tokens_mean": float(np.mean([answer.output_tokens for answer in answers.answers])),
    }


def _hosting(rate: float, training: float, economics: Economics) -> dict[str, Any]:
    return {
        "machines": machines_needed(economics.requests_per_month, rate),
        "hosting_cost_per_month": hosting_cost_per_month(economics.requests_per_month, rate, economics),
        "cost_per_1000_requests": cost_per_1000_requests(rate, training, economics),
    }


def scorecard_to_json(scorecard: Scorecard) -> str:
    """The scorecard as JSON text."""
    return TypeAdapter(Scorecard).dump_json(scorecard).decode()


def scorecard_from_json(text: str) -> Scorecard:
    """Read what `scorecard_to_json` wrote.

    Raises:
        pydantic.ValidationError: the text is not a scorecard.
    """
    return TypeAdapter(Scorecard).validate_json(text)


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
