import pytest

from configs.schema import Training
from tasks.search.confirmation import (
    choose_finalists,
    confirmation_requests,
    gather_finalists,
    name_winner,
    seed_spread,
)
from tasks.search.results import Finalist, TrialRow


def row(number, value, *, state="finished", **changes):
    values = {"parameters": {"epochs": number + 1}, "seed": 17, "adapter": f"adapter-{number}", **changes}
    return TrialRow(f"trial/{number}", number, state, value=value, **values)


def finalist(number, *values):
    return Finalist(number, {}, tuple(row(number, value, seed=17 + n) for n, value in enumerate(values)))


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([row(0, 0.5), row(1, 0.7), row(2, 0.6)], [1, 2]),
        ([row(0, 0.5), row(1, 0.5), row(2, 0.5)], [0, 1]),
        ([row(0, 0.5), row(1, 0.9, state="pruned")], [0]),
        ([row(0, 0.5), row(1, None, state="failed"), row(2, None, state="refused")], [0]),
        ([row(0, 0.5), row(1, 0.5, repeats=0), row(2, 0.4)], [0, 2]),
        ([row(0, 0.0)], [0]),
        ([row(0, None, state="failed")], []),
    ],
)
def test_finalists_are_the_two_best_distinct_trials_that_finished(rows, chosen):
    assert [each.number for each in choose_finalists(rows)] == chosen


def test_every_finalist_is_confirmed_with_the_same_fresh_seeds():
    requests = confirmation_requests([row(3, 0.7), row(1, 0.6)], Training(), seed=17, confirmation_seeds=2)

    assert [(each.name, each.seed) for each in requests] == [
        ("confirmation/3-seed-18", 18),
        ("confirmation/1-seed-18", 18),
        ("confirmation/3-seed-19", 19),
        ("confirmation/1-seed-19", 19),
    ]
    assert requests[0].training == Training(epochs=4)


def test_no_confirmation_seeds_means_no_confirmation():
    assert confirmation_requests([row(3, 0.7)], Training(), seed=17, confirmation_seeds=0) == []


def test_a_finalist_is_its_own_run_and_its_confirmations():
    rows = [row(3, 0.7), row(1, 0.6)]
    requests = confirmation_requests(rows, Training(), seed=17, confirmation_seeds=1)
    confirmations = {each.name: row(each.number, 0.1 * each.number, seed=18) for each in requests}

    first, second = gather_finalists(rows, confirmations, requests)

    assert (first.number, first.values) == (3, (0.7, pytest.approx(0.3)))
    assert (second.number, second.values) == (1, (0.6, 0.1))


@pytest.mark.parametrize(
    ("rivals", "named"),
    [
        ([finalist(4, 0.72, 0.60), finalist(2, 0.70, 0.68)], 2),
        ([finalist(4, 0.72, 0.69), finalist(2, 0.70, 0.68)], 4),
        ([finalist(4, 0.70, 0.70), finalist(2, 0.70, 0.70)], 4),
        ([finalist(4, 0.90, None), finalist(2, 0.70, 0.60)], 2),
        ([finalist(4, 0.90, None), finalist(2, 0.70, None)], 4),
        ([finalist(4, 0.72)], 4),
    ],
)
def test_the_highest_mean_over_seeds_is_named_and_a_failed_seed_comes_second(rivals, named):
    assert name_winner(rivals).number == named


def test_the_candidate_is_the_run_with_the_best_validation_value():
    assert finalist(4, 0.60, 0.72, 0.72).best_run.seed == 18


def test_seed_spread_is_that_of_the_sample():
    spread = seed_spread(finalist(4, 0.6, 0.7, 0.8))

    assert spread.standard_deviation == pytest.approx(0.1)
    assert spread.range == pytest.approx(0.2)


def test_one_seed_has_no_spread():
    spread = seed_spread(finalist(4, 0.6, None))

    assert (spread.values, spread.standard_deviation, spread.range) == ((0.6,), None, None)
