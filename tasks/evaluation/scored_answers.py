"""An option's answers to the test records, scored record by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.errors import DataError
from configs.metric_names import Metric
from configs.schema import Evaluation
from tasks.data.records import Record
from tasks.evaluation.slices import EvaluationRows
from tasks.inference.options import Answers, Option
from tasks.metrics.answer_figures import answer_figures
from tasks.metrics.consistency import consistency_figures
from tasks.metrics.grouped import Floats
from tasks.metrics.task_metrics import macro_f1, score_rows


@dataclass(frozen=True)
class ScoredAnswers:
    """What an option answered, and the score of each answer by each metric."""

    option: Option
    answers: Answers
    outputs: tuple[str, ...]
    """In the order of the records."""
    scores: Mapping[Metric, Floats]
    """By metric, the deciding one first; in the order of the records."""
    macro_f1: float | None
    """None without a closed label set."""
    figures: Mapping[str, float]
    """Of free text, and of answers drawn by chance."""


def score_answers(
    option: Option,
    answers: Answers,
    records: Sequence[Record],
    *,
    rows: EvaluationRows,
    labels: Sequence[str] | None,
    evaluation: Evaluation,
    json_schema: Mapping[str, Any] | None = None,
) -> ScoredAnswers:
    """Score each answer by the deciding metric and by those shown beside it.

    Args:
        option: What answered.
        answers: One per record, in any order.
        records: The test records that `rows` was made from.
        rows: Their order.
        labels: The closed label set, or None.
        evaluation: For the metrics.
        json_schema: What `json_valid` holds answers against.

    Raises:
        DataError: an answer is missing, or answers a record that is not among `records`.
        MetricFailed: a user's metric raised an error or returned no score.
        RecipeError: a user's metric isn't installed.
    """
    outputs = _outputs_in_order(option, answers, rows)
    references = [record.completion for record in records]
    has_schema = json_schema is not None
    scores = {
        metric: score_rows(metric, outputs, references, json_schema=json_schema, record_ids=rows.record_ids)
        for metric in metrics_shown(
            evaluation,
            closed_labels=labels is not None,
            has_json_schema=has_schema,
            calls_tools=any(record.answer is not None for record in records),
        )
    }
    prompts = [record.prompt for record in records]
    return ScoredAnswers(
        option=option,
        answers=answers,
        outputs=tuple(outputs),
        scores=scores,
        macro_f1=None if labels is None else macro_f1(outputs, references),
        figures={
            **(answer_figures(outputs, references, prompts) if labels is None else {}),
            **consistency_figures([answer.samples for answer in answers.answers]),
        },
    )


def metrics_shown(
    evaluation: Evaluation, *, closed_labels: bool, has_json_schema: bool, calls_tools: bool = False
) -> tuple[Metric, ...]:
    """Return the deciding metric, and those shown beside it: the recipe's, or those that suit the answers."""
    beside = evaluation.also
    if beside is None:
        beside = ("exact_match", "normalised_match", "token_f1")
        beside += () if closed_labels else ("rouge_l", "chrf")
        beside += ("json_valid", "json_fields") if has_json_schema else ()
        beside += ("tool_call_match",) if calls_tools else ()
    return tuple(dict.fromkeys((evaluation.metric, *beside)))


def _outputs_in_order(option: Option, answers: Answers, rows: EvaluationRows) -> list[str]:
    outputs = {answer.record_id: answer.output for answer in answers.answers}
    if len(answers.answers) != len(rows.record_ids) or set(outputs) != set(rows.record_ids):
        raise DataError(
            f"the answers of option {option.name!r} are for other records than the test set: {len(outputs)} answers, "
            f"{len(rows.record_ids)} records, {len(set(outputs) & set(rows.record_ids))} in common; "
            "delete the answers folder and run again"
        )
    return [outputs[record_id] for record_id in rows.record_ids]
