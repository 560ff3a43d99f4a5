"""Intervals and tests for means over records that come in groups (patient, code, document).

Everything works on the groups' totals and sizes. Arrays have the groups on their last axis; leading axes are
independent data sets. The variance of the mean is estimated from the groups' residuals, each blown up by its leverage
(Bell and McCaffrey 2002), so a group that holds many of the records does not make it look too small: once for
differences (CR2), twice for a single mean (CR3, the jackknife that leaves out a group), each the one that covers at
its nominal rate in `benchmarks/statistics.py`. The degrees of freedom are Kish's effective number of groups, (Σm)² /
Σm², less one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.metrics.proportions import Bounds, wilson

Floats = NDArray[np.float64]

_SAYS_NOTHING = 1e6


class GroupTotals(NamedTuple):
    """Sum of the scores and number of records of each group; shape [..., groups]."""

    totals: Floats
    sizes: Floats


def group_totals(scores: Floats, groups: Sequence[str] | None) -> GroupTotals:
    """Add up the scores by group; without groups every record is its own."""
    if groups is None:
        return GroupTotals(np.asarray(scores, dtype=float), np.ones(len(scores)))
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    totals, sizes = np.bincount(codes, weights=scores), np.bincount(codes)
    return GroupTotals(np.asarray(totals, dtype=float), np.asarray(sizes, dtype=float))


def mean_of(data: GroupTotals) -> Floats:
    """Mean over all records; shape [...]."""
    return np.asarray(data.totals.sum(-1) / data.sizes.sum(-1))


def effective_wilson(data: GroupTotals, *, confidence: float) -> Bounds:
    """Wilson interval at the effective number of records: p(1-p) over the grouped variance of the mean.

    For means of scores in [0, 1]. The survey statistician's interval (Korn and Graubard 1998, with Wilson's in
    place of Clopper and Pearson's, after Dean and Pagano 2015). Where the groups don't vary at all, the effective
    number of groups stands in, as if each group were one record.
    """
    mean, variance, groups = mean_of(data), _variance_of_mean(data, corrections=2), effective_groups(data)
    effective = np.where(variance > 0, mean * (1 - mean) / np.where(variance > 0, variance, 1), groups)
    return wilson(mean, effective, quantile=_t_quantile(groups - 1, confidence))


def group_t(data: GroupTotals, *, confidence: float) -> Bounds:
    """Student's t interval of a mean of differences in [-1, 1], with the grouped variance.

    Where all groups agree exactly there is no variance to go by: the half-width is then Wilson's upper bound for
    something never seen among the effective number of groups.
    """
    mean, variance, groups = mean_of(data), _variance_of_mean(data, corrections=1), effective_groups(data)
    quantile = _t_quantile(groups - 1, confidence)
    never_seen = wilson(np.zeros_like(mean), groups, quantile=quantile).high
    half_width = np.where(variance > 0, quantile * np.sqrt(variance), never_seen)
    return Bounds(np.maximum(mean - half_width, -1), np.minimum(mean + half_width, 1))


def group_score_statistic(data: GroupTotals, null: float) -> Floats:
    """Self-normalised sum Σr / √Σr² of the groups' residuals at the mean `null`; shape [...].

    With `null` 0 and single records it is McNemar's z. When swapping the two options within a group changes
    nothing but the sign, it is sub-Gaussian at every level (Efron 1969), so far tails can be trusted.
    """
    residuals = data.totals - null * data.sizes
    norm = np.sqrt((residuals**2).sum(-1))
    return np.asarray(residuals.sum(-1) / np.where(norm > 0, norm, 1))


def effective_groups(data: GroupTotals) -> Floats:
    """Kish's effective number of groups; equals the number of groups when all are of one size."""
    return np.asarray(data.sizes.sum(-1) ** 2 / (data.sizes**2).sum(-1))


def _variance_of_mean(data: GroupTotals, *, corrections: int) -> Floats:
    n = data.sizes.sum(-1, keepdims=True)
    residuals = data.totals - mean_of(data)[..., None] * data.sizes
    share = data.sizes / n
    weights = np.where(share < 1, 1 / np.where(share < 1, 1 - share, 1), 0)
    variance = (residuals**2 * weights**corrections).sum(-1) / n[..., 0] ** 2
    # Rounding leaves about 1e-32 where all residuals are zero.
    return np.where(variance > 1e-24, variance, 0.0)


def _t_quantile(degrees: Floats, confidence: float) -> Floats:
    """Of Student's t, two-sided; without a degree of freedom, so large that the interval says nothing."""
    quantile = -special.stdtrit(np.maximum(degrees, 1e-3), (1 - confidence) / 2)
    return np.asarray(np.minimum(quantile, _SAYS_NOTHING))
