"""When a trial falls behind: asynchronous successive halving over the share of its training that a trial has had.

A pure rule (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"). Why it is not Optuna's own
pruner: docs/decisions/0007-search.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from configs.schema import Search

Looks = Mapping[float, float]
"""Validation values by the fraction of the trial's own training, whatever its epochs or batch size."""

_TOLERANCE = 1.0e-3
"""Looks fall on whole steps: a fraction so little below a rung has reached it."""


def falls_behind(looks: Looks, rivals: Sequence[Looks], search: Search) -> bool:
    """Whether a trial is to end at its newest look.

    That look decides for the rungs which it is the first to reach. There the best value so far must be among the best
    one in `reduction_factor`, rounded up, of all trials that reached the rung; equal values are not behind.

    Args:
        looks: of the trial, its newest one included.
        rivals: looks of the other trials, also of those that were pruned or still run.
        search: `reduction_factor`, `min_fraction` and `unpruned_trials` of it.
    """
    newest = max(looks)
    for rung in rungs(search):
        if newest < rung - _TOLERANCE:
            return False
        if any(rung - _TOLERANCE <= fraction < newest for fraction in looks):
            continue
        value = _value_at(looks, rung)
        others = [other for rival in rivals if (other := _value_at(rival, rung)) is not None]
        kept = math.ceil((len(others) + 1) / search.reduction_factor)
        if value is not None and len(others) >= search.unpruned_trials and sum(o > value for o in others) >= kept:
            return True
    return False


def rungs(search: Search) -> Iterator[float]:
    """The fractions of training at which trials are compared."""
    fraction = search.min_fraction
    while fraction < 1 - _TOLERANCE:
        yield fraction
        fraction *= search.reduction_factor


def _value_at(looks: Looks, rung: float) -> float | None:
    """The best value up to the first look at or behind the rung; None for a trial that didn't get there."""
    behind = [fraction for fraction in looks if fraction >= rung - _TOLERANCE]
    return max(value for fraction, value in looks.items() if fraction <= min(behind)) if behind else None
