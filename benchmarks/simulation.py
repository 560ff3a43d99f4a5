"""Made-up test sets with known truth, for `benchmarks.statistics` and the simulation tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.metrics.grouped import GroupTotals

Floats = NDArray[np.float64]

ICD10_SIZES = np.repeat(
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 19, 38], [65, 39, 26, 12, 10, 5, 2, 6, 1, 1, 1, 1, 1, 1]
)
"""Records per 3-character category in a test set of 512 ICD-10-CM inclusion terms (171 categories)."""


class Cells(NamedTuple):
    """Counts of records by who was right; each of shape [simulations, groups]."""

    both: Floats
    only_first: Floats
    only_second: Floats
    neither: Floats

    @property
    def differences(self) -> Floats:
        """First minus second, added up by group."""
        return self.only_first - self.only_second


def even_sizes(groups: int) -> NDArray[np.int64]:
    """Groups of one, two and three records in turn."""
    return np.arange(groups) % 3 + 1


def draw_cells(
    random: np.random.Generator, shares: ArrayLike, sizes: ArrayLike, *, correlation: float, simulations: int
) -> Cells:
    """Draw paired answers.

    Args:
        random: Source of randomness.
        shares: Probabilities of both, only first, only second, neither; shape [4] or [simulations, 4].
        sizes: Records per group.
        correlation: Within-group correlation: each group has shares of its own, Dirichlet around `shares`.
        simulations: Number of test sets.
    """
    sizes = np.asarray(sizes)
    concentration = np.atleast_2d(shares)[:, None, :] * (1 - correlation) / correlation
    gamma = random.standard_gamma(np.broadcast_to(concentration, (simulations, len(sizes), 4)))
    own = np.maximum(gamma, 1e-300)
    own /= own.sum(-1, keepdims=True)
    return Cells(*np.moveaxis(random.multinomial(np.broadcast_to(sizes, own.shape[:-1]), own), -1, 0).astype(float))


def draw_rights(
    random: np.random.Generator, share: ArrayLike, sizes: ArrayLike, *, correlation: float, simulations: int
) -> GroupTotals:
    """Right answers by group for one option; `share` has shape [] or [simulations]."""
    sizes = np.asarray(sizes)
    scale = (1 - correlation) / correlation
    share = np.broadcast_to(np.asarray(share, dtype=float), simulations)[:, None]
    own = random.beta(share * scale, (1 - share) * scale, size=(simulations, len(sizes)))
    return GroupTotals(random.binomial(sizes, own).astype(float), sizes.astype(float))


class WordScores(NamedTuple):
    """A distribution like that of token F1: some wrong, some right, the rest in between."""

    wrong: float
    right: float

    @property
    def mean(self) -> float:
        """True mean score."""
        return self.right + (1 - self.wrong - self.right) / 2

    def draw(self, random: np.random.Generator, *, simulations: int, records: int) -> Floats:
        """Independent scores, shape [simulations, records]."""
        where = random.random((simulations, records))
        between = random.beta(2, 2, size=where.shape)
        return np.where(where < self.wrong, 0.0, np.where(where < self.wrong + self.right, 1.0, between))


EVEN_WORDS = WordScores(wrong=0.2, right=0.4)
SKEWED_WORDS = WordScores(wrong=0.04, right=0.81)


def weekly_equal_models(
    random: np.random.Generator, sizes: ArrayLike, *, accuracy: float, correlation: float, looks: int, simulations: int
) -> Iterator[Cells]:
    """A year of candidates no better and no worse than the champion, all on the champion's frozen test set.

    Each candidate answers 40% of the records as the champion did and the others afresh, so that the looks depend on
    each other through the champion's luck. Yields one set of cells (candidate first) per look.
    """
    sizes, same = np.asarray(sizes), 0.4
    scale = (1 - correlation) / correlation
    own = random.beta(accuracy * scale, (1 - accuracy) * scale, size=(simulations, len(sizes)))
    right = random.binomial(sizes, own)
    for _ in range(looks):
        lost = random.binomial(right, (1 - same) * (1 - own))
        gained = random.binomial(sizes - right, (1 - same) * own)
        yield Cells(*(cell.astype(float) for cell in (right - lost, gained, lost, sizes - right - gained)))
