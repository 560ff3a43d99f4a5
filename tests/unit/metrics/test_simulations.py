"""The tables of `benchmarks.statistics` at a tenth of their size; each row must be able to fail."""

import numpy as np
import pytest

from benchmarks import statistics as tables
from benchmarks.simulation import ICD10_SIZES, draw_cells, weekly_equal_models
from tasks.metrics.grouped import GroupTotals, group_t
from tasks.metrics.looks import confidence_at_look
from tasks.metrics.power import records_needed

SIMULATIONS = 1000

FEW_GROUPS = {"20 groups of 1 to 3, correlation 0.2", "40 groups of 1 to 3, correlation 0.2"}


def random():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def coverages():
    single = tables.single_coverage(random(), SIMULATIONS)
    return [*single, *tables.paired_coverage(random(), SIMULATIONS)]


def test_no_interval_covers_too_little(coverages):
    assert [row for row in coverages if row.deviation < -3] == []


def test_intervals_are_conservative_only_with_few_records(coverages):
    wide = [row for row in coverages if row.deviation > 3]

    assert [row for row in wide if row.design not in FEW_GROUPS and "512" in row.design] == []


def test_intervals_miss_on_both_sides(coverages):
    assert [row for row in coverages if min(row.too_low, row.too_high) < 0.008] == []


def test_equal_models_are_promoted_at_one_look_no_more_than_nominal():
    simulations = 4000
    cells = draw_cells(random(), [0.55, 0.1, 0.1, 0.25], ICD10_SIZES, correlation=0.1, simulations=simulations)
    grouped = GroupTotals(cells.differences, ICD10_SIZES.astype(float))
    lone = tables.lone_cells(random(), np.array([0.59, 0.1, 0.1, 0.21]), 512, simulations)

    shares = [
        tables.promoted_by_group(grouped, confidence_at_look(0.05, 1)).mean(),
        tables.promoted_alone(lone, confidence_at_look(0.05, 1)).mean(),
    ]

    assert max(shares) <= 0.025
    assert min(shares) > 0.012


def test_equal_models_are_promoted_over_a_year_no_more_than_nominal():
    sizes = np.repeat([1, 2, 3, 6], [30, 20, 10, 5])
    year = weekly_equal_models(random(), sizes, accuracy=0.69, correlation=0.3, looks=52, simulations=SIMULATIONS)

    promoted = np.zeros(SIMULATIONS, dtype=bool)
    for look, cells in enumerate(year, start=1):
        data = GroupTotals(cells.differences, sizes.astype(float))
        promoted |= tables.promoted_by_group(data, confidence_at_look(0.05, look))

    assert 0.005 < promoted.mean() <= 0.05


def test_groups_that_are_ignored_make_false_alarms():
    simulations = 2000
    cells = draw_cells(random(), [0.55, 0.1, 0.1, 0.25], ICD10_SIZES, correlation=0.4, simulations=simulations)

    ignored = tables.promoted_alone(cells, 0.95).mean()
    heeded = tables.promoted_by_group(GroupTotals(cells.differences, ICD10_SIZES.astype(float)), 0.95).mean()

    assert ignored > 0.05
    assert heeded <= 0.025


def test_slices_that_lose_what_is_tolerated_seldom_block():
    rates = list(tables.slice_blocks(random(), SIMULATIONS))

    assert rates[0].share <= 0.05
    assert rates[2].share > 0.3


def test_the_suggested_number_of_records_has_the_power_it_promises():
    gain, discordant = 0.06, 0.25
    needed = records_needed(gain, deviation=(discordant - gain**2) ** 0.5, confidence=0.95, power=0.8)
    half = discordant / 2
    draw = random()
    differences = draw.choice(
        [1.0, -1.0, 0.0], p=[half + gain / 2, half - gain / 2, 1 - discordant], size=(2000, needed)
    )

    told = group_t(GroupTotals(differences, np.ones(needed)), confidence=0.95).low > 0

    assert told.mean() == pytest.approx(0.8, abs=0.03)
