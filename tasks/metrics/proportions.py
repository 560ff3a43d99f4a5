"""Intervals and tests for proportions of independent records. Every function takes numbers or arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


class Bounds(NamedTuple):
    """Lower and upper ends of intervals, elementwise."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def wilson(proportion: ArrayLike, n: ArrayLike, *, quantile: ArrayLike) -> Bounds:
    """Score interval of a proportion (Wilson 1927); never of zero width.

    Args:
        proportion: Observed share, in [0, 1].
        n: Number of records, or the effective number; above 0.
        quantile: Quantile of the normal (or t) distribution for the wanted confidence, as `normal_quantile` gives.
    """
    p, n = np.asarray(proportion, dtype=float), np.asarray(n, dtype=float)
    z2 = np.asarray(quantile, dtype=float) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half_width = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Bounds(np.clip(centre - half_width, 0, p), np.clip(centre + half_width, p, 1))


def newcombe_paired(
    both: ArrayLike, only_first: ArrayLike, only_second: ArrayLike, neither: ArrayLike, *, confidence: float
) -> Bounds:
    """Interval of the difference of two paired proportions, first minus second.

    Square-and-add of two Wilson intervals with the continuity-corrected correlation: method 10 of Newcombe,
    "Improved confidence intervals for the difference between binomial proportions based on paired data",
    Statistics in Medicine 17 (1998). The correction keeps the width above zero when the two never disagree.

    Args:
        both: Records that both options answered rightly.
        only_first: Records that only the first answered rightly.
        only_second: Records that only the second answered rightly.
        neither: Records that neither answered rightly.
        confidence: Two-sided level.
    """
    a, b, c, d = (np.asarray(cell, dtype=float) for cell in (both, only_first, only_second, neither))
    n, z = a + b + c + d, normal_quantile(confidence)
    first, second = (a + b) / n, (a + c) / n
    (low1, high1), (low2, high2) = wilson(first, n, quantile=z), wilson(second, n, quantile=z)
    correlation = _corrected_phi(a, b, c, d)
    below = _add_in_quadrature(first - low1, high2 - second, correlation)
    above = _add_in_quadrature(high1 - first, second - low2, correlation)
    return Bounds(first - second - below, first - second + above)


def mcnemar_exact(only_first: ArrayLike, only_second: ArrayLike) -> NDArray[np.float64]:
    """Two-sided exact p-value that two paired proportions are equal: a fair coin over the disagreements."""
    b, c = np.asarray(only_first, dtype=float), np.asarray(only_second, dtype=float)
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(np.minimum(b, c), (b + c).astype(int), 0.5)))


def normal_quantile(confidence: float) -> float:
    """How many standard errors a two-sided normal interval reaches to each side."""
    return float(-special.ndtri((1 - confidence) / 2))


def _corrected_phi(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.float64]:
    product, half = a * d - b * c, (a + b + c + d) / 2
    product = np.where(product > 0, np.maximum(product - half, 0), product)
    scale = np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    return np.asarray(product / np.where(scale > 0, scale, np.inf))


def _add_in_quadrature(
    one: NDArray[np.float64], other: NDArray[np.float64], correlation: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(one * one - 2 * correlation * one * other + other * other, 0))
