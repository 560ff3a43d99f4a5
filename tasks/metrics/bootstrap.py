"""The bias-corrected and accelerated bootstrap of a mean, resampling groups."""

from __future__ import annotations

import numpy as np
from scipy import special

from tasks.metrics.grouped import Floats, GroupTotals, mean_of
from tasks.metrics.proportions import Bounds, normal_quantile

_WEIGHTS_AT_ONCE = 4_000_000
"""Resampling weights held in memory at once, so that a large test set does not take gigabytes."""


def bca_bootstrap(data: GroupTotals, *, confidence: float, resamples: int, seed: int) -> Bounds:
    """BCa interval (Efron 1987) of the mean over all records, whole groups drawn with replacement.

    Args:
        data: Totals [..., groups] and sizes [groups] or [..., groups]; at least two groups that differ.
        confidence: Two-sided level.
        resamples: Bootstrap resamples; the same draws serve every leading index of `data`.
        seed: Of the draws.
    """
    totals, sizes = np.broadcast_arrays(data.totals, data.sizes)
    estimate = mean_of(GroupTotals(totals, sizes))
    replicates = np.sort(_replicates(totals, sizes, resamples=resamples, seed=seed), axis=0)
    bias = _bias(replicates, estimate)
    acceleration = _acceleration(totals, sizes)
    low, high = (
        _quantile(replicates, _adjusted_level(bias, acceleration, sign * normal_quantile(confidence)))
        for sign in (-1, 1)
    )
    return Bounds(low, high)


def _replicates(totals: Floats, sizes: Floats, *, resamples: int, seed: int) -> Floats:
    """Bootstrap means, shape [resamples, ...]."""
    groups = totals.shape[-1]
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // groups)
    parts = []
    for start in range(0, resamples, at_once):
        shape = (min(at_once, resamples - start), groups)
        # A multinomial draw by counting: each row of `drawn` names the groups of one resample.
        drawn = random.integers(groups, size=shape) + groups * np.arange(shape[0])[:, None]
        weights = np.bincount(drawn.ravel(), minlength=shape[0] * groups).reshape(shape).astype(float)
        parts.append((weights @ np.moveaxis(totals, -1, 0)) / (weights @ np.moveaxis(sizes, -1, 0)))
    return np.concatenate(parts)


def _bias(replicates: Floats, estimate: Floats) -> Floats:
    """Normal quantile of the share of replicates below the estimate, ties counted half."""
    resamples = len(replicates)
    tied = np.isclose(replicates, estimate, rtol=0, atol=1e-12)
    share = ((replicates < estimate) & ~tied).mean(0) + tied.mean(0) / 2
    return np.asarray(special.ndtri(np.clip(share, 1 / resamples, 1 - 1 / resamples)))


def _acceleration(totals: Floats, sizes: Floats) -> Floats:
    """Skewness of the jackknife means, over 6."""
    left_out = (totals.sum(-1, keepdims=True) - totals) / (sizes.sum(-1, keepdims=True) - sizes)
    deviations = left_out.mean(-1, keepdims=True) - left_out
    scale = (deviations**2).sum(-1) ** 1.5
    return np.asarray((deviations**3).sum(-1) / (6 * np.where(scale > 0, scale, np.inf)))


def _adjusted_level(bias: Floats, acceleration: Floats, z: float) -> Floats:
    shifted = bias + z
    return np.asarray(special.ndtr(bias + shifted / (1 - acceleration * shifted)))


def _quantile(replicates: Floats, level: Floats) -> Floats:
    """Linear interpolation between sorted replicates, one level per trailing index."""
    position = np.clip(level * (len(replicates) - 1), 0, len(replicates) - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(replicates) - 1)
    at = [np.take_along_axis(replicates, index[None, ...], axis=0)[0] for index in (below, above)]
    return np.asarray(at[0] + (position - below) * (at[1] - at[0]))
