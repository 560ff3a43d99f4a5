"""Whether more trials of a study are expected to help: pure, from the values of those that ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from configs.schema import Search
from tasks.search.results import TrialRow

_TAIL_SHARE, _FEWEST_IN_TAIL = 3, 3
"""The best third of the trials, at least three, tell how values are spread near the best."""


def why_more_would_not_help(
    rows: Sequence[TrialRow], search: Search, *, remaining: int, validation_records: int
) -> str | None:
    """Return why the study should end before its budget; None to go on, always without `search.patience`.

    Two things must hold: the last `patience` trials brought no worthwhile gain, and the chance that any of the
    remaining ones brings one is below `min_gain_chance`.

    Args:
        rows: trials that ended, by number.
        search: `patience`, `worthwhile_gain` and `min_gain_chance` of it.
        remaining: trials of the budget that have not ended.
        validation_records: on which each value was measured.
    """
    tried = [row for row in rows if row.state in ("finished", "pruned") and row.repeats is None]
    values = [row.value for row in tried if row.state == "finished" and row.value is not None]
    if search.patience is None or not values:
        return None
    gain = search.worthwhile_gain or standard_error(max(values), validation_records)
    unlucky = trials_without_gain(tried, gain=gain)
    chance = chance_of_gain(values, tried=len(tried), remaining=remaining, gain=gain)
    if unlucky < search.patience or chance is None or chance >= search.min_gain_chance:
        return None
    return (
        f"the last {unlucky} trials gained nothing worthwhile (more than {gain:.3f}), and the chance that any of the "
        f"{remaining} left would is {chance:.0%}"
    )


def trials_without_gain(tried: Sequence[TrialRow], *, gain: float) -> int:
    """Trials since the best value last rose by more than `gain`; small rises add up."""
    record, since = -math.inf, 0
    for row in tried:
        since += 1
        if row.state == "finished" and row.value is not None and row.value > record + gain:
            record, since = row.value, 0
    return since


def chance_of_gain(values: Sequence[float], *, tried: int, remaining: int, gain: float) -> float | None:
    """Return the chance that the best of the remaining trials exceeds the best so far by more than `gain`.

    The tail near the best is taken to be exponential (peaks over a threshold, Pickands 1975, with shape 0), as wide as
    the best third of the trials lie above the next one; that width is known from few values, so the predictive
    distribution (1 + x / (k w)) ** -k stands for exp(-x / w). A metric is bounded, so its true tail is shorter: the
    chance is too high rather than too low. The trials left are taken to be drawn like those that ended.

    Args:
        values: of the trials that finished; pruned ones are taken to lie below the best third.
        tried: all that ended, the pruned ones included.
        remaining: how many are left.
        gain: what counts, in units of the metric.

    Returns:
        None where too few have finished, or none is above 0, to say anything.
    """
    ranked = sorted(values, reverse=True)
    tail = max(_FEWEST_IN_TAIL, tried // _TAIL_SHARE)
    if len(ranked) <= tail or ranked[0] <= 0:
        return None
    if ranked[0] + gain >= 1 or remaining <= 0:
        return 0.0
    threshold = ranked[tail]
    width = sum(value - threshold for value in ranked[:tail]) / tail
    if width == 0:
        return 0.0
    beyond = (1 + (ranked[0] + gain - threshold) / (tail * width)) ** -tail
    return 1 - math.exp(-remaining * tail / tried * beyond)


def standard_error(value: float, records: int) -> float:
    """Of a mean of scores between 0 and 1 (the largest that such a mean can have); at least one record's worth."""
    return max(math.sqrt(max(0.0, value * (1 - value)) / records), 1 / records)
