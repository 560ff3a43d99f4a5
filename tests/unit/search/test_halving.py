import pytest

from configs.schema import Search
from tasks.search.halving import falls_behind, rungs

SEARCH = Search(reduction_factor=2, min_fraction=0.25, unpruned_trials=0)


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
