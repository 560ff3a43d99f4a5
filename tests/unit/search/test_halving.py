import numpy as np
import pytest

from configs.schema import Search
from tasks.search import halving
from tasks.search.halving import rungs

SEARCH = Search(reduction_factor=2, min_fraction=0.25, unpruned_trials=0, hopeless_standard_errors=None)
HOPELESS = Search(min_fraction=0.99, hopeless_standard_errors=3)


def falls_behind(own, rivals, search, *, records=64):
    return halving.why_behind(own, rivals, search, records=records) is not None


def looks(*values, every=0.25):
    return {(number + 1) * every: value for number, value in enumerate(values)}


def test_rungs_are_shares_of_the_training_and_never_its_end():
    assert list(rungs(SEARCH)) == [0.25, 0.5]
    assert list(rungs(Search(reduction_factor=3, min_fraction=0.1))) == pytest.approx([0.1, 0.3, 0.9])


@pytest.mark.parametrize(
    ("own", "rivals", "behind"),
    [
        (looks(0.5), [], False),
        (looks(0.5), [looks(0.6)], True),
        (looks(0.5), [looks(0.6), looks(0.4)], False),
        (looks(0.5), [looks(0.6), looks(0.7)], True),
        (looks(0.5), [looks(0.5), looks(0.5)], False),
        (looks(0.0), [looks(0.0), looks(0.0)], False),
        (looks(0.5), [looks(0.6), looks(0.7), looks(0.4), looks(0.3)], False),
    ],
)
def test_the_best_one_in_the_factor_rounded_up_goes_on(own, rivals, behind):
    assert falls_behind(own, rivals, SEARCH) is behind


def test_trials_are_compared_at_the_same_share_of_their_training_however_often_they_look():
    often = looks(0.1, 0.3, 0.4, 0.5, every=0.125)

    assert falls_behind(looks(0.2), [often], SEARCH) is True
    assert falls_behind(looks(0.35), [often], SEARCH) is False


def test_the_best_value_so_far_counts_not_the_last_one():
    assert falls_behind(looks(0.6, 0.1), [looks(0.5, 0.5)], SEARCH) is False


def test_a_look_between_two_rungs_decides_nothing():
    search = SEARCH.model_copy(update={"min_fraction": 0.125, "reduction_factor": 4})

    assert falls_behind({0.125: 0.5, 0.25: 0.1}, [looks(0.9, 0.9, 0.9, every=0.125)] * 9, search) is False


def test_a_look_that_passes_several_rungs_decides_for_all_of_them():
    rivals = [looks(0.1), looks(0.1), looks(0.1, 0.9)]

    assert falls_behind({0.5: 0.3}, rivals, SEARCH) is True


def test_a_rung_that_few_have_reached_prunes_nobody():
    spared = SEARCH.model_copy(update={"unpruned_trials": 2})

    assert falls_behind(looks(0.1), [looks(0.9)], spared) is False
    assert falls_behind(looks(0.1), [looks(0.9), looks(0.8)], spared) is True


def test_a_look_that_falls_a_step_short_of_a_rung_reaches_it():
    assert falls_behind({0.4995: 0.3}, [looks(0.2, 0.9), looks(0.2, 0.8)], SEARCH) is True


@pytest.mark.parametrize(
    ("own", "rival", "records", "behind"),
    [
        (looks(0.2), looks(0.6), 64, True),
        (looks(0.2), looks(0.4), 64, False),
        (looks(0.2), looks(0.4), 640, True),
        (looks(0.0), looks(1.0), 2, False),  # one record or two prove nothing
        (looks(0.6), looks(0.2), 64, False),
        (looks(0.2, 0.6), looks(0.6, 0.6), 64, False),
        (looks(0.6, 0.2), looks(0.6, 0.7), 64, False),  # its best value so far counts
    ],
)
def test_a_trial_ends_anywhere_once_another_one_leads_by_more_than_chance(own, rival, records, behind):
    assert falls_behind(own, [rival], HOPELESS, records=records) is behind
    assert falls_behind(own, [looks(0.0), rival], HOPELESS, records=records) is behind


def test_the_lead_is_taken_at_the_same_share_of_the_training():
    late = looks(0.2, 0.2, 0.2, 0.9)

    assert falls_behind(looks(0.2, 0.2), [late], HOPELESS) is False
    assert falls_behind(looks(0.2), [{0.25: 0.2, 0.5: 0.9}], HOPELESS) is False
    assert falls_behind(looks(0.2, 0.2), [{0.25: 0.2, 0.5: 0.9}], HOPELESS) is True


def test_the_reason_tells_which_rule_ended_the_trial():
    rung = Search(min_fraction=0.25, unpruned_trials=0, hopeless_standard_errors=2)

    assert "2 standard errors" in halving.why_behind(looks(0.2), [looks(0.9)], rung, records=64)
    assert "best 1 in 2" in halving.why_behind(looks(0.5), [looks(0.55)], rung, records=64)
    assert halving.why_behind(looks(0.5), [looks(0.5)], rung, records=64) is None


def test_equal_trials_rarely_count_as_hopeless():
    rng = np.random.default_rng(5)
    truth, trials, simulations = 0.6, 8, 2000
    values = rng.binomial(64, truth, (simulations, trials)) / 64

    ended = [falls_behind(looks(own), [looks(other) for other in others], HOPELESS) for own, *others in values]

    assert sum(ended) / simulations < 0.02
