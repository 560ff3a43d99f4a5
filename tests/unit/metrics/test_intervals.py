import dataclasses

import numpy as np
import pytest
from scipy import stats

from tasks.metrics.bootstrap import bca_bootstrap
from tasks.metrics.grouped import GroupTotals, effective_groups, group_score_statistic, group_totals
from tasks.metrics.intervals import loss_p_value, mean_interval, paired_difference

RIGHTS = [1, 1, 0, 1, 0, 1, 1, 1]
OTHERS = [1, 0, 0, 1, 1, 0, 1, 0]
PAIRS = ["a", "a", "b", "b", "c", "c", "d", "d"]


def mean_of(scores, groups=None, *, binary=True, seed=1):
    return mean_interval(scores, groups, binary=binary, confidence=0.95, resamples=400, seed=seed)


def difference_of(first, second, groups=None, *, binary=True, confidence=0.95):
    return paired_difference(first, second, groups, binary=binary, confidence=confidence)


@pytest.mark.parametrize(
    ("scores", "groups", "binary", "method"),
    [
        (RIGHTS, None, True, "Wilson"),
        (RIGHTS, list("abcdefgh"), True, "Wilson"),
        (RIGHTS, PAIRS, True, "Wilson by group"),
        (np.linspace(0, 1, 60), None, False, "BCa bootstrap"),
        (np.linspace(0, 1, 20), None, False, "Wilson at the effective number of records"),
        (np.full(60, 0.3), None, False, "Wilson at the effective number of records"),
    ],
)
def test_every_interval_names_its_method(scores, groups, binary, method):
    assert mean_of(scores, groups, binary=binary).method == method


@pytest.mark.parametrize(
    ("groups", "binary", "method", "test"),
    [
        (None, True, "Newcombe", "exact McNemar"),
        (list("abcdefgh"), True, "Newcombe", "exact McNemar"),
        (PAIRS, True, "t by group", "score by group"),
        (None, False, "t", "score"),
    ],
)
def test_every_difference_names_its_method_and_test(groups, binary, method, test):
    found = difference_of(RIGHTS, OTHERS, groups, binary=binary)

    assert (found.method, found.test) == (method, test)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("groups", [None, ["a"] * 10, ["a"] * 5 + ["b"] * 5, [str(i // 2) for i in range(10)]])
@pytest.mark.filterwarnings("error")
def test_an_interval_of_equal_scores_has_width(value, groups):
    estimate = mean_of([value] * 10, groups)

    assert estimate.high - estimate.low > 0.2
    assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize("groups", [None, ["a"] * 10, ["a"] * 5 + ["b"] * 5, [str(i // 2) for i in range(10)]])
@pytest.mark.filterwarnings("error")
def test_options_that_always_agree_may_still_differ(groups):
    difference = difference_of([1.0] * 10, [1.0] * 10, groups)

    assert difference.difference == 0
    assert difference.low < -0.2
    assert difference.high > 0.2
    assert difference.p_value == 1


def test_one_group_tells_nothing():
    estimate, difference = mean_of([1] * 50, ["a"] * 50), difference_of([1] * 50, [0] * 50, ["a"] * 50)

    assert (estimate.low, estimate.high) == pytest.approx((0, 1), abs=1e-6)
    assert difference.low == pytest.approx(0, abs=1e-6)
    assert not difference.surely_above(0)


def test_copies_of_records_within_their_group_prove_nothing():
    groups, copied = [str(i) for i in range(8)] * 1, [str(i // 5) for i in range(40)]
    alone = difference_of(RIGHTS, OTHERS, groups, binary=False)

    copies = difference_of(np.repeat(RIGHTS, 5), np.repeat(OTHERS, 5), copied)

    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high))
    assert copies.p_value == pytest.approx(alone.p_value)
    assert mean_of(np.repeat(RIGHTS, 5), copied).low < mean_of(np.repeat(RIGHTS, 5)).low - 0.1


def test_the_order_of_the_records_does_not_matter():
    order = [5, 2, 7, 0, 1, 6, 4, 3]
    shuffled = [[values[i] for i in order] for values in (RIGHTS, OTHERS, PAIRS)]

    one, other = difference_of(RIGHTS, OTHERS, PAIRS), difference_of(*shuffled)

    assert dataclasses.astuple(one)[:5] == pytest.approx(dataclasses.astuple(other)[:5])


@pytest.mark.parametrize("groups", [None, PAIRS])
def test_a_difference_turns_around_with_the_options(groups):
    one, other = difference_of(RIGHTS, OTHERS, groups), difference_of(OTHERS, RIGHTS, groups)

    assert (one.low, one.high, one.p_value) == pytest.approx((-other.high, -other.low, other.p_value))


def test_t_interval_of_lone_records_is_the_textbook_one():
    first, second = np.array([0.2, 0.9, 0.5, 0.7, 1.0]), np.array([0.1, 0.6, 0.6, 0.2, 0.3])
    reference = stats.ttest_rel(first, second).confidence_interval(0.95)

    found = difference_of(first, second, binary=False)

    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))


def test_bca_equals_the_reference_implementation():
    scores = np.linspace(0, 1, 12) ** 6
    reference = stats.bootstrap((scores,), np.mean, n_resamples=200_000, method="BCa", random_state=4)

    found = bca_bootstrap(group_totals(scores, None), confidence=0.95, resamples=200_000, seed=5)

    width = reference.confidence_interval.high - reference.confidence_interval.low
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval), abs=0.01 * width)


def test_the_bootstrap_repeats_itself_by_seed():
    scores = np.linspace(0, 1, 60) ** 2

    assert mean_of(scores, binary=False, seed=7) == mean_of(scores, binary=False, seed=7)
    assert mean_of(scores, binary=False, seed=7) != mean_of(scores, binary=False, seed=8)


def test_group_score_statistic_is_mcnemars_z_for_lone_records():
    differences = np.array([1.0] * 9 + [-1.0] * 4 + [0.0] * 30)

    assert group_score_statistic(group_totals(differences, None), 0.0) == pytest.approx(5 / 13**0.5)


def test_effective_groups_count_large_groups_less():
    assert effective_groups(GroupTotals(np.zeros(3), np.array([1.0, 1.0, 8.0]))) == pytest.approx(100 / 66)


def test_a_gain_is_sure_only_when_interval_and_test_agree():
    found = difference_of([1] * 40 + [0] * 10, [1] * 30 + [0] * 20)

    assert found.surely_above(0)
    assert not dataclasses.replace(found, p_value=0.051).surely_above(0)
    assert not dataclasses.replace(found, low=0.02).surely_above(0.02)
    assert dataclasses.replace(found, high=0.02).surely_not_above(0.02)


def test_a_loss_is_significant_only_beyond_what_is_tolerated():
    candidate, reference = [0] * 12 + [1] * 48, [1] * 60

    assert loss_p_value(candidate, reference, None, tolerated=0.05) < 0.01
    assert loss_p_value(candidate, reference, None, tolerated=0.2) == pytest.approx(0.5)
    assert loss_p_value(reference, candidate, None, tolerated=0.05) > 0.99


@pytest.mark.parametrize(("first", "second"), [([], []), ([1], [1, 0])])
def test_a_difference_needs_the_same_records_twice(first, second):
    with pytest.raises(ValueError, match="same records twice"):
        difference_of(first, second)


def test_an_estimate_needs_a_score():
    with pytest.raises(ValueError, match="at least one score"):
        mean_of([])
