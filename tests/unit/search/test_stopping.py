"""The early stop of a study, by simulation: rarely false where later trials would help, early on a plateau."""

import numpy as np
import pytest

from configs.schema import Search
from tasks.search.results import TrialRow
from tasks.search.stopping import (
    chance_of_gain,
    standard_error,
    trials_without_gain,
    why_more_would_not_help,
)

RECORDS = 400
NOISE = 0.02
SEARCH = Search(trials=32, patience=5, worthwhile_gain=NOISE)


def rows(values):
    return [TrialRow(f"trial/{n}", n, "finished", {}, 17, value=float(value)) for n, value in enumerate(values)]


def stopped_after(values, search=SEARCH):
    """Trials after which the study ends."""
    for count in range(1, len(values)):
        if why_more_would_not_help(
            rows(values[:count]), search, remaining=len(values) - count, validation_records=RECORDS
        ):
            return count
    return len(values)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: 0.8 - np.abs(rng.normal(0, 0.15, 32)),
        lambda rng: rng.uniform(0.2, 0.9, 32),
        lambda rng: 0.3 + 0.5 * rng.beta(1, 5, 32),
    ],
    ids=["half-normal below a ceiling", "uniform", "few good ones"],
)
def test_a_stop_rarely_misses_a_worthwhile_gain(draw):
    rng = np.random.default_rng(17)

    missed = 0
    for _ in range(300):
        values = draw(rng)
        count = stopped_after(values)
        missed += values[count:].max(initial=0.0) > values[:count].max() + NOISE

    assert missed / 300 <= SEARCH.min_gain_chance


def test_a_plateau_on_which_only_the_seed_moves_values_is_left_early():
    rng = np.random.default_rng(17)

    used = [stopped_after(0.8 + rng.normal(0, NOISE / 3, 32)) for _ in range(200)]

    assert np.mean(used) < 16


def test_a_search_that_goes_on_improving_is_not_stopped():
    assert stopped_after(np.linspace(0.2, 0.9, 32)) == 32


def test_without_patience_the_budget_is_used():
    assert stopped_after(np.full(32, 0.8), SEARCH.model_copy(update={"patience": None})) == 32


def test_patience_is_the_fewest_trials_without_a_gain():
    assert stopped_after(np.full(32, 0.8), SEARCH.model_copy(update={"patience": 12})) == 13


def test_small_rises_add_up_to_a_gain():
    assert trials_without_gain(rows([0.5, 0.51, 0.52, 0.53]), gain=0.025) == 0
    assert trials_without_gain(rows([0.5, 0.51, 0.52, 0.51]), gain=0.025) == 3


def test_more_trials_left_mean_a_higher_chance_and_a_larger_gain_a_lower_one():
    values = [0.5, 0.55, 0.6, 0.61, 0.62, 0.7]

    few, many = (chance_of_gain(values, tried=6, remaining=left, gain=0.02) for left in (2, 20))
    large = chance_of_gain(values, tried=6, remaining=20, gain=0.2)

    assert few < many
    assert large < many


@pytest.mark.parametrize(
    ("values", "chance"),
    [([0.5, 0.6, 0.7], None), ([0.0] * 8, None), ([0.99] * 8, 0.0), ([0.5] * 8, 0.0)],
    ids=["too few to tell", "nothing learnt yet", "no room above", "all equal"],
)
def test_the_chance_at_the_edges(values, chance):
    assert chance_of_gain(values, tried=len(values), remaining=8, gain=0.02) == chance


def test_a_gain_within_the_error_of_the_best_value_is_not_worthwhile_by_default():
    values = [0.5, 0.51, 0.5, 0.52, 0.51, 0.5, 0.51, 0.52]
    search = Search(trials=16, patience=5)

    assert standard_error(0.52, 64) > 0.06
    assert why_more_would_not_help(rows(values), search, remaining=8, validation_records=64) is not None
