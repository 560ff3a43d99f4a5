"""Are the intervals, tests and gates right? Simulated test sets with known truth, as Markdown tables.

    python -m benchmarks.statistics

Takes about three minutes on one core. Every figure comes from the functions that the product calls.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.simulation import (
    EVEN_WORDS,
    ICD10_SIZES,
    SKEWED_WORDS,
    Cells,
    Floats,
    WordScores,
    draw_cells,
    draw_rights,
    even_sizes,
    weekly_equal_models,
)
from benchmarks.tables import CONFIDENCE, Coverage, Rate, coverage_table, measure, rate_table
from tasks.metrics.bootstrap import bca_bootstrap
from tasks.metrics.grouped import GroupTotals, effective_wilson, group_score_statistic, group_t
from tasks.metrics.looks import confidence_at_look, holm
from tasks.metrics.proportions import Bounds, mcnemar_exact, newcombe_paired, normal_quantile, wilson

ALPHA = 0.05
RESAMPLES = 2000
WEEKS = 52
BATCH = 1000
"""Simulations per bootstrap call: each batch has draws of its own."""


def bootstrap(data: GroupTotals, seed: int) -> Bounds:
    """BCa intervals batch by batch."""
    parts = [
        bca_bootstrap(
            GroupTotals(data.totals[start : start + BATCH], data.sizes),
            confidence=CONFIDENCE,
            resamples=RESAMPLES,
            seed=seed + start,
        )
        for start in range(0, len(data.totals), BATCH)
    ]
    return Bounds(*(np.concatenate(ends) for ends in zip(*parts, strict=True)))


def newcombe(cells: Cells, confidence: float = CONFIDENCE) -> Bounds:
    """Newcombe's interval of records that stand alone."""
    return newcombe_paired(*(cell.sum(-1) for cell in cells), confidence=confidence)


def lone_cells(random: np.random.Generator, shares: Floats, records: int, simulations: int) -> Cells:
    """Paired answers to independent records, as one group that holds all counts."""
    drawn = random.multinomial(records, np.broadcast_to(shares, (simulations, 4)))
    return Cells(*np.moveaxis(drawn, -1, 0).astype(float)[..., None])


def single_coverage(random: np.random.Generator, simulations: int) -> Iterator[Coverage]:
    """Intervals of one option's metric."""
    for records in (30, 100, 512):
        truth = random.uniform(0.05, 0.95, simulations)
        share = random.binomial(records, truth) / records
        bounds = wilson(share, records, quantile=normal_quantile(CONFIDENCE))
        yield measure("Wilson", f"{records} records, any accuracy", bounds, truth)
    for records in (50, 100, 512):
        for name, words in (("even", EVEN_WORDS), ("skewed", SKEWED_WORDS)):
            data = alone(words.draw(random, simulations=simulations, records=records))
            design = f"token F1, {records} records, {name}"
            yield measure("BCa bootstrap", design, bootstrap(data, records), words.mean)
    for name, words in (("even", EVEN_WORDS), ("skewed", SKEWED_WORDS)):
        data = alone(words.draw(random, simulations=simulations, records=30))
        bounds = effective_wilson(data, confidence=CONFIDENCE)
        yield measure("Wilson at effective n", f"token F1, 30 records, {name}", bounds, words.mean)
    for design, sizes, correlation in grouped_designs():
        truth = random.uniform(0.1, 0.9, simulations)
        data = draw_rights(random, truth, sizes, correlation=correlation, simulations=simulations)
        yield measure("Wilson by group", design, effective_wilson(data, confidence=CONFIDENCE), truth)


def paired_coverage(random: np.random.Generator, simulations: int) -> Iterator[Coverage]:
    """Intervals of the difference between two options."""
    for records in (100, 512, 2000):
        shares = random.dirichlet([6, 1, 1, 3], simulations)
        cells = lone_cells(random, shares, records, simulations)
        yield measure("Newcombe", f"{records} records, any shares", newcombe(cells), shares[:, 1] - shares[:, 2])
    for records in (30, 100, 512):
        for name, words in (("even", EVEN_WORDS), ("skewed", SKEWED_WORDS)):
            bounds = group_t(word_differences(random, words, records, simulations), confidence=CONFIDENCE)
            yield measure("t", f"token F1, {records} records, {name}", bounds, 0.0)
    for design, sizes, correlation in grouped_designs():
        cells = draw_cells(random, [0.55, 0.15, 0.1, 0.2], sizes, correlation=correlation, simulations=simulations)
        data = GroupTotals(cells.differences, sizes.astype(float))
        yield measure("t by group", design, group_t(data, confidence=CONFIDENCE), 0.05)


def hard_coverage(random: np.random.Generator, simulations: int) -> Iterator[Coverage]:
    """Where every known method has trouble: shares near 1, rare disagreements, few large groups."""
    for records, truth in ((30, 0.97), (512, 0.99)):
        share = random.binomial(records, truth, simulations) / records
        bounds = wilson(share, records, quantile=normal_quantile(CONFIDENCE))
        yield measure("Wilson", f"{records} records, accuracy {truth}", bounds, truth)
    data = draw_rights(random, 0.95, ICD10_SIZES, correlation=0.4, simulations=simulations)
    bounds = effective_wilson(data, confidence=CONFIDENCE)
    yield measure("Wilson by group", "ICD-10 sizes, correlation 0.4, accuracy 0.95", bounds, 0.95)
    rare = np.array([0.92, 0.015, 0.015, 0.05])
    bounds = newcombe(lone_cells(random, rare, 512, simulations))
    yield measure("Newcombe", "512 records, 3% answered differently", bounds, 0.0)
    cells = draw_cells(random, rare, ICD10_SIZES, correlation=0.2, simulations=simulations)
    bounds = group_t(GroupTotals(cells.differences, ICD10_SIZES.astype(float)), confidence=CONFIDENCE)
    yield measure("t by group", "ICD-10 sizes, correlation 0.2, 3% answered differently", bounds, 0.0)


def unused_coverage(random: np.random.Generator, simulations: int) -> Iterator[Coverage]:
    """The method that was rejected for groups."""
    for design, sizes, correlation in grouped_designs()[:3]:
        cells = draw_cells(random, [0.55, 0.15, 0.1, 0.2], sizes, correlation=correlation, simulations=simulations)
        data = GroupTotals(cells.differences, sizes.astype(float))
        yield measure("BCa by group (not used)", f"difference, {design}", bootstrap(data, 1), 0.05)


def grouped_designs() -> list[tuple[str, Floats, float]]:
    """Name, sizes and within-group correlation of the grouped test sets."""
    icd10 = [(f"ICD-10 sizes, correlation {rho}", ICD10_SIZES, rho) for rho in (0.1, 0.4)]
    even = [(f"{n} groups of 1 to 3, correlation 0.2", even_sizes(n), 0.2) for n in (20, 40, 100, 250)]
    return icd10 + even


def alone(scores: Floats) -> GroupTotals:
    """Each record its own group."""
    return GroupTotals(scores, np.ones(scores.shape[-1]))


def word_differences(random: np.random.Generator, words: WordScores, records: int, simulations: int) -> GroupTotals:
    """Two equal options' token F1 on the same records: half of the records get equal answers."""
    first = words.draw(random, simulations=simulations, records=records)
    fresh = words.draw(random, simulations=simulations, records=records)
    second = np.where(random.random(first.shape) < 0.5, first, fresh)
    return alone(first - second)


def promoted_alone(cells: Cells, confidence: float) -> NDArray[np.bool_]:
    """The promotion rule for right and wrong answers to independent records, as in `PairedDifference.surely_above`."""
    p_values = mcnemar_exact(cells.only_first.sum(-1), cells.only_second.sum(-1))
    return np.asarray((newcombe(cells, confidence).low > 0) & (p_values <= 1 - confidence))


def promoted_by_group(data: GroupTotals, confidence: float) -> NDArray[np.bool_]:
    """The promotion rule for everything else."""
    p_values = 2 * special.ndtr(-np.abs(group_score_statistic(data, 0.0)))
    return np.asarray((group_t(data, confidence=confidence).low > 0) & (p_values <= 1 - confidence))


def false_promotions(random: np.random.Generator, simulations: int) -> Iterator[Rate]:
    """Equal models, at one look and over a year of weekly looks."""
    first = confidence_at_look(ALPHA, 1)
    for records, disagreements in ((100, 0.2), (512, 0.04), (512, 0.2), (512, 0.4)):
        half = disagreements / 2
        cells = lone_cells(random, np.array([0.69 - half, half, half, 0.31 - half]), records, 10 * simulations)
        design = f"{records} records, {disagreements:.0%} answered differently"
        yield Rate("one look", design, 10 * simulations, ALPHA / 2, promoted_alone(cells, first).mean())
    for correlation in (0.1, 0.4):
        cells = draw_cells(
            random, [0.55, 0.1, 0.1, 0.25], ICD10_SIZES, correlation=correlation, simulations=simulations
        )
        hits = promoted_by_group(GroupTotals(cells.differences, ICD10_SIZES.astype(float)), first)
        yield Rate("one look", f"ICD-10 sizes, correlation {correlation}", simulations, ALPHA / 2, hits.mean())
    hits = promoted_by_group(word_differences(random, EVEN_WORDS, 512, simulations), first)
    yield Rate("one look", "token F1, 512 records", simulations, ALPHA / 2, hits.mean())
    yield from false_promotions_of_a_year(random, simulations)


def false_promotions_of_a_year(random: np.random.Generator, simulations: int) -> Iterator[Rate]:
    """Whether any of 52 equal candidates is promoted on one frozen test set."""
    what = f"{WEEKS} weekly looks"
    year = weekly_equal_models(
        random, ICD10_SIZES, accuracy=0.69, correlation=0.3, looks=WEEKS, simulations=simulations
    )
    sizes = ICD10_SIZES.astype(float)
    grouped, unspent = np.zeros(simulations, dtype=bool), np.zeros(simulations, dtype=bool)
    for look, cells in enumerate(year, start=1):
        data = GroupTotals(cells.differences, sizes)
        grouped |= promoted_by_group(data, confidence_at_look(ALPHA, look))
        unspent |= promoted_by_group(data, confidence_at_look(ALPHA, 1))
    yield Rate(what, "ICD-10 sizes, correlation 0.3", simulations, ALPHA, grouped.mean())
    yield Rate(what, "the same without spending (not used)", simulations, None, unspent.mean())
    fresh = np.zeros(simulations, dtype=bool)
    for look in range(1, WEEKS + 1):
        cells = lone_cells(random, np.array([0.55, 0.14, 0.14, 0.17]), 512, simulations)
        fresh |= promoted_alone(cells, confidence_at_look(ALPHA, look))
    yield Rate(what, "512 records, looks independent of each other (the worst case)", simulations, ALPHA, fresh.mean())


def power(random: np.random.Generator, simulations: int) -> Iterator[Rate]:
    """Promotions of truly better models: 25% of the records answered differently."""
    for gain in (0.05, 0.08, 0.12):
        shares = np.array([0.5, 0.125 + gain / 2, 0.125 - gain / 2, 0.25])
        for look in (1, 4, WEEKS):
            level = confidence_at_look(ALPHA, look)
            what = f"gain of {100 * gain:.0f} points, look {look}"
            cells = lone_cells(random, shares, 512, simulations)
            yield Rate(what, "512 records", simulations, None, promoted_alone(cells, level).mean())
            cells = draw_cells(random, shares, ICD10_SIZES, correlation=0.2, simulations=simulations)
            hits = promoted_by_group(GroupTotals(cells.differences, ICD10_SIZES.astype(float)), level)
            yield Rate(what, "ICD-10 sizes, correlation 0.2", simulations, None, hits.mean())


def slice_blocks(random: np.random.Generator, simulations: int) -> Iterator[Rate]:
    """Twenty slices of 30 to 60 records that lose exactly the tolerated 5 points, and one that loses more."""
    sizes = np.linspace(30, 60, 20).astype(int)
    for loss in (0.05, 0.25, 0.4):
        p_values = np.column_stack(
            [_slice_p_values(random, size, loss if rank == 0 else 0.05, simulations) for rank, size in enumerate(sizes)]
        )
        blocked = np.array([holm(row, ALPHA) for row in p_values])
        if loss == 0.05:
            yield Rate("any slice blocks", "20 slices lose the 5 points tolerated", simulations, ALPHA,
                       blocked.any(1).mean())  # fmt: skip
        else:
            what = f"the slice that loses {100 * loss:.0f} points blocks"
            yield Rate(what, "30 records, 19 other slices", simulations, None, blocked[:, 0].mean())


def _slice_p_values(random: np.random.Generator, records: int, loss: float, simulations: int) -> Floats:
    worse = random.random((simulations, records))
    differences = np.where(worse < 0.1 + loss, -1.0, np.where(worse < 0.2 + loss, 1.0, 0.0))
    return np.asarray(special.ndtr(group_score_statistic(alone(differences), -0.05)))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20260731)
    arguments = parser.parse_args()
    random, count, begun = np.random.default_rng(arguments.seed), arguments.simulations, time.monotonic()
    tables = [
        ("Coverage of 95% intervals: one option", coverage_table(single_coverage(random, count))),
        ("Coverage of 95% intervals: differences", coverage_table(paired_coverage(random, count))),
        ("Coverage of 95% intervals: hard cases", coverage_table(hard_coverage(random, count))),
        ("Rejected", coverage_table(unused_coverage(random, count))),
        ("Promotions of equal models", rate_table("looks", false_promotions(random, count))),
        ("Power", rate_table("true gain", power(random, count))),
        ("Slices", rate_table("Holm at 95%", slice_blocks(random, count))),
    ]
    for title, lines in tables:
        print(f"\n### {title}\n")
        for line in lines:
            print(line, flush=True)
    print(f"\n{time.monotonic() - begun:.0f} s, seed {arguments.seed}", file=sys.stderr)


if __name__ == "__main__":
    main()
