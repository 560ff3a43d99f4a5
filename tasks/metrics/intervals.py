"""Which interval and which test for which data: one estimate, one paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tasks.metrics.bootstrap import bca_bootstrap
from tasks.metrics.grouped import (
    Floats,
    GroupTotals,
    effective_wilson,
    group_score_statistic,
    group_t,
    group_totals,
    mean_of,
)
from tasks.metrics.proportions import Bounds, mcnemar_exact, newcombe_paired, normal_quantile, wilson

_FEWEST_FOR_BOOTSTRAP = 50
"""Below this many records the bootstrap of a skewed mean covers too little (measured, docs/decisions/0002)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over records with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Records."""
    method: str
    """Of the interval, as shown to people."""
    confidence: float
    """Two-sided level of the interval."""


@dataclass(frozen=True)
class PairedDifference:
    """First minus second on the same records, with its interval and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    """Two-sided, of the hypothesis that the difference is 0."""
    n: int
    """Records."""
    method: str
    """Of the interval."""
    test: str
    """Of the p-value."""
    confidence: float
    """Two-sided level of the interval; each end alone errs with probability (1 - confidence) / 2."""

    def surely_above(self, threshold: float) -> bool:
        """Whether the lower bound is above a threshold of at least 0, and the test agrees at the same level.

        The second condition costs a little power and makes false alarms at equal options rarer than nominal
        wherever the interval alone would be a shade too bold.
        """
        return self.low > threshold and self.p_value <= 1 - self.confidence

    def surely_not_above(self, threshold: float) -> bool:
        """Whether the upper bound is at or below the threshold."""
        return self.high <= threshold


def mean_interval(
    scores: ArrayLike,
    groups: Sequence[str] | None,
    *,
    binary: bool,
    confidence: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Mean of scores in [0, 1] with its interval.

    Args:
        scores: One per record.
        groups: Each record's group, or None. Groups of one record each count as none.
        binary: Whether every score is 0 or 1.
        confidence: Two-sided level.
        resamples: Bootstrap resamples, used for scores that are not binary.
        seed: Of the bootstrap.

    Raises:
        ValueError: there are no scores.
    """
    values = np.asarray(scores, dtype=float)
    if not len(values):
        raise ValueError("an interval needs at least one score, got none")
    data = group_totals(values, groups)
    bounds, method = _mean_bounds(
        data, len(values), binary=binary, confidence=confidence, resamples=resamples, seed=seed
    )
    return Estimate(
        float(values.mean()), float(bounds.low), float(bounds.high), len(values), method, confidence=confidence
    )


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: Sequence[str] | None, *, binary: bool, confidence: float
) -> PairedDifference:
    """Mean of `first` minus mean of `second`, scores in [0, 1] of the same records in the same order.

    Args:
        first: Scores of one option.
        second: Scores of the other.
        groups: Each record's group, or None. Groups of one record each count as none.
        binary: Whether every score is 0 or 1.
        confidence: Two-sided level.

    Raises:
        ValueError: there are no scores, or the two differ in number.
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if not len(one) or len(one) != len(other):
        raise ValueError(f"a paired difference needs the same records twice, got {len(one)} and {len(other)} scores")
    data = group_totals(one - other, groups)
    if binary and not _has_groups(data):
        cells = _paired_cells(one, other)
        bounds = newcombe_paired(*cells, confidence=confidence)
        p_value, method, test = mcnemar_exact(cells[1], cells[2]), "Newcombe", "exact McNemar"
    else:
        bounds = group_t(data, confidence=confidence)
        p_value = 2 * special.ndtr(-np.abs(group_score_statistic(data, 0.0)))
        by_group = " by group" if _has_groups(data) else ""
        method, test = f"t{by_group}", f"score{by_group}"
    return PairedDifference(
        difference=float((one - other).mean()),
        low=float(bounds.low),
        high=float(bounds.high),
        p_value=float(p_value),
        n=len(one),
        method=method,
        test=test,
        confidence=confidence,
    )


def loss_p_value(first: ArrayLike, second: ArrayLike, groups: Sequence[str] | None, *, tolerated: float) -> float:
    """One-sided p-value that `first` is not worse than `second` by more than `tolerated`: the score test by group."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return float(special.ndtr(group_score_statistic(group_totals(differences, groups), -tolerated)))


def _mean_bounds(
    data: GroupTotals, n: int, *, binary: bool, confidence: float, resamples: int, seed: int
) -> tuple[Bounds, str]:
    if _has_groups(data):
        return effective_wilson(data, confidence=confidence), "Wilson by group"
    if binary:
        return wilson(mean_of(data), n, quantile=normal_quantile(confidence)), "Wilson"
    if n < _FEWEST_FOR_BOOTSTRAP or np.ptp(data.totals) == 0:
        return effective_wilson(data, confidence=confidence), "Wilson at the effective number of records"
    return bca_bootstrap(data, confidence=confidence, resamples=resamples, seed=seed), "BCa bootstrap"


def _has_groups(data: GroupTotals) -> bool:
    return bool((data.sizes > 1).any())


def _paired_cells(one: Floats, other: Floats) -> tuple[int, int, int, int]:
    """Both right, only the first, only the second, neither."""
    first, second = one > 0.5, other > 0.5
    both, only_first, only_second = (first & second).sum(), (first & ~second).sum(), (~first & second).sum()
    return int(both), int(only_first), int(only_second), int((~first & ~second).sum())
