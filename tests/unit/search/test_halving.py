import numpy as np
import pytest

from configs.schema import Search
from tasks.search import halving
from tasks.search.halving import rungs
from tasks.training.schedule import look_steps

SEARCH = Search(reduction_factor=2, min_fraction=0.25, unpruned_trials=0, hopeless_alpha=None)
HOPELESS = Search(unpruned_trials=10**6)


def falls_behind(own, rivals, search):
    return halving.why_behind(own, rivals, search, finished=[], independent=64) is not None


def is_hopeless(own, finished, *, independent=64):
    reason = halving.why_behind(own, finished, HOPELESS, finished=finished, independent=independent)
    return reason is not None


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
    ("own", "other", "independent", "hopeless"),
    [
        (looks(0.2), looks(0.6), 64, True),
        (looks(0.2), looks(0.3), 64, False),
        (looks(0.2), looks(0.3), 640, True),
        (looks(0.2), looks(0.6), 5, False),  # few records, or few groups of them, prove little
        (looks(0.0), looks(1.0), 1, False),
        (looks(0.6), looks(0.2), 64, False),
        (looks(0.2, 0.6), looks(0.6, 0.6), 64, False),
        (looks(0.6, 0.2), looks(0.6, 0.7), 64, False),  # its best value so far counts
        (looks(0.2, 0.2), looks(0.2, 0.2, 0.2, 0.9), 64, False),  # what the other one had by then counts
        (looks(0.2, 0.2, 0.2), looks(0.2, 0.9), 64, True),
    ],
)
def test_a_trial_ends_anywhere_where_a_finished_one_was_clearly_better(own, other, independent, hopeless):
    assert is_hopeless(own, [other], independent=independent) is hopeless
    assert is_hopeless(own, [looks(0.0), other], independent=independent) is hopeless


@pytest.mark.parametrize("other", [60, 75, 150])
def test_equal_curves_are_never_hopeless_though_they_are_looked_at_elsewhere(other):
    def learned(steps):
        return {step / steps: (step / steps) ** 0.5 for step in look_steps(steps, evaluations=4)}

    for own, finished in ((39, other), (other, 39)):
        curve = learned(own)
        for count in range(1, 4):
            assert not is_hopeless(dict(list(curve.items())[:count]), [learned(finished)], independent=1000)


def test_trials_that_still_run_or_failed_make_no_other_one_hopeless():
    reason = halving.why_behind(looks(0.1), [looks(0.9)], HOPELESS, finished=[], independent=64)

    assert reason is None


def test_the_reason_tells_which_rule_ended_the_trial():
    search = Search(min_fraction=0.25, unpruned_trials=0)

    def reason(own, other):
        return halving.why_behind(own, [other], search, finished=[other], independent=64)

    assert "finished" in reason(looks(0.2), looks(0.9))
    assert "best 1 in 2" in reason(looks(0.5), looks(0.55))
    assert reason(looks(0.5), looks(0.5)) is None


@pytest.mark.parametrize("trials", [2, 8, 32])
def test_a_trial_as_good_as_all_others_is_rarely_hopeless(trials):
    rng = np.random.default_rng(5)
    truth, simulations, alpha = 0.6, 4000, Search().hopeless_alpha
    values = rng.binomial(64, truth, (simulations, trials)) / 64

    ended = [is_hopeless(looks(own), [looks(other) for other in others]) for own, *others in values]

    three_standard_errors = 3 * (alpha * (1 - alpha) / simulations) ** 0.5
    assert sum(ended) / simulations <= alpha + three_standard_errors
