"""Which searched fields moved the validation value: fANOVA over the trials that finished (Hutter et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.schema import Choices, Range
from tasks.search.space import Space, is_whole

FEWEST_TRIALS = 8
"""With fewer finished trials the shares are chance."""


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of the validation value, or why they can't be told."""

    shares: dict[str, float]
    """By field, the largest first; they sum to 1. Empty when they can't be told."""
    note: str


def parameter_importance(trials: Sequence[Mapping[str, Any]], space: Space, *, seed: int) -> Importance:
    """Estimate the importance of each field that every finished trial has.

    Args:
        trials: rows of a study's result, as JSON.
        space: the recipe's.
        seed: of the forest.
    """
    finished = [row for row in trials if row["state"] == "finished" and row["repeats"] is None]
    if len(finished) < FEWEST_TRIALS:
        return Importance({}, f"{len(finished)} trials finished; importance is shown from {FEWEST_TRIALS} on.")
    if len({row["value"] for row in finished}) == 1:
        return Importance({}, "Every trial that finished has the same value, so no field moved it.")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row in finished:
        fields = [field for field in row["parameters"] if field in space]
        study.add_trial(
            optuna.trial.create_trial(
                params={field: row["parameters"][field] for field in fields},
                distributions={field: _distribution(field, space[field]) for field in fields},
                value=row["value"],
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(dict(shares), f"fANOVA over the {len(finished)} trials that finished; fields that every one has.")


def _distribution(field: str, values: Range | Choices) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choices):
        return CategoricalDistribution(values.choices)
    if is_whole(field):
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
