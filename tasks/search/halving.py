"""When a trial falls behind: asynchronous successive halving over the share of its training that a trial has had.

Pure rules: halving after Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", and the difference of
two shares after Agresti and Caffo 2000. Why it is not Optuna's own pruner: docs/decisions/0007-search.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

from configs.schema import Search

Looks = Mapping[float, float]
"""Validation values by the fraction of the trial's own training, whatever its epochs or batch size."""

_TOLERANCE = 1.0e-3
"""Looks fall on whole steps: a fraction so little below a rung has reached it."""


def why_behind(
    looks: Looks, rivals: Sequence[Looks], search: Search, *, finished: Sequence[Looks], independent: int
) -> str | None:
    """Why a trial is to end at its newest look: it misses a rung, or is hopeless; None when it goes on.

    The look decides for the rungs which it is the first to reach. There the best value so far must be among the best
    one in `reduction_factor`, rounded up, of all trials that reached the rung; equal values are not behind. It is
    hopeless where its best value so far lies clearly below what a finished trial had by then: so far below that, were
    it as good as all of these, the chance of it at this look would be `hopeless_alpha` at most.

    Args:
        looks: of the trial, its newest one included; values from 0 to 1.
        rivals: looks of the other trials, also of those that were pruned or still run.
        search: `reduction_factor`, `min_fraction`, `unpruned_trials` and `hopeless_alpha` of it.
        finished: looks of those that finished and so may win; what still runs may yet fail.
        independent: validation records of a look; where records belong together, their groups.
    """
    if _is_hopeless(looks, finished, search, independent=independent):
        return "a finished trial was clearly better by then"
    if _misses_a_rung(looks, rivals, search):
        return f"it was not among the best 1 in {search.reduction_factor}"
    return None


def _is_hopeless(looks: Looks, finished: Sequence[Looks], search: Search, *, independent: int) -> bool:
    newest = max(looks) + _TOLERANCE
    by_then = (max((value for share, value in other.items() if share <= newest), default=None) for other in finished)
    others = [value for value in by_then if value is not None]
    if search.hopeless_alpha is None or not others:
        return False
    clear = NormalDist().inv_cdf(1 - search.hopeless_alpha / len(others))
    return _lead(max(others), max(looks.values()), independent=independent) > clear


def _lead(other: float, own: float, *, independent: int) -> float:
    """By how many standard errors a mean of scores lies above another one on as many records.

    As of two independent shares, with a success and a failure added to each. Scores between 0 and 1 vary less than
    shares do, and two fine-tunes of one base on the same records rather err together, so the true one is smaller.
    """
    first, second = ((value * independent + 1) / (independent + 2) for value in (other, own))
    return (first - second) / math.sqrt((first * (1 - first) + second * (1 - second)) / (independent + 2))


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
