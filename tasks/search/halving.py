"""When a trial falls behind: asynchronous successive halving over the share of its training that a trial has had.

Pure rules: halving after Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", and the difference of
two shares after Agresti and Caffo 2000. Why it is not Optuna's own pruner: docs/decisions/0007-search.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from configs.schema import Search

Looks = Mapping[float, float]
"""Validation values by the fraction of the trial's own training, whatever its epochs or batch size."""

_TOLERANCE = 1.0e-3
"""Looks fall on whole steps: a fraction so little below a rung has reached it."""


def why_behind(looks: Looks, rivals: Sequence[Looks], search: Search, *, records: int) -> str | None:
    """Why a trial is to end at its newest look: it misses a rung, or is hopeless; None when it goes on.

    The look decides for the rungs which it is the first to reach. There the best value so far must be among the best
    one in `reduction_factor`, rounded up, of all trials that reached the rung; equal values are not behind. It is
    hopeless where another trial's best value, at the same share of its training, lies above its own by more than
    `hopeless_standard_errors`: early values are often chance, and such a difference is not.

    Args:
        looks: of the trial, its newest one included; values from 0 to 1.
        rivals: looks of the other trials, also of those that were pruned or still run.
        search: `reduction_factor`, `min_fraction`, `unpruned_trials` and `hopeless_standard_errors` of it.
        records: validation records of a look.
    """
    if _is_hopeless(looks, rivals, search, records=records):
        return f"another trial led by more than {search.hopeless_standard_errors:g} standard errors"
    if _misses_a_rung(looks, rivals, search):
        return f"it was not among the best 1 in {search.reduction_factor}"
    return None


def _is_hopeless(looks: Looks, rivals: Sequence[Looks], search: Search, *, records: int) -> bool:
    if search.hopeless_standard_errors is None:
        return False
    own, newest = max(looks.values()), max(looks)
    others = (_value_at(rival, newest) for rival in rivals)
    return any(
        _lead(other, own, records=records) > search.hopeless_standard_errors for other in others if other is not None
    )


def _lead(other: float, own: float, *, records: int) -> float:
    """By how many standard errors a mean of scores lies above another one on as many records.

    As of two independent shares, with a success and a failure added to each: the two are of the same records and their
    scores lie between 0 and 1, so the true standard error is smaller.
    """
    first, second = ((value * records + 1) / (records + 2) for value in (other, own))
    return (first - second) / math.sqrt((first * (1 - first) + second * (1 - second)) / (records + 2))


def _misses_a_rung(looks: Looks, rivals: Sequence[Looks], search: Search) -> bool:
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
