import pytest

from configs.schema import Choices, Range, Search, Training
from tasks.search.identity import study_identity

SPACE = {"learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True)}


def identity(search=None, training=None, *, seed=17, **inputs):
    return study_identity(
        search or Search(space=SPACE), training or Training(), seed=seed, inputs={"snapshot": "s", **inputs}
    )


@pytest.mark.parametrize(
    "budget",
    [
        {"trials": 50},
        {"minutes": 5.0},
        {"max_cost": 20.0},
        {"patience": 5},
        {"worthwhile_gain": 0.01},
        {"min_gain_chance": 0.2},
        {"slots": 4},
        {"confirmation_seeds": 3},
        {"warm_start": True},
    ],
)
def test_a_budget_doesnt_begin_a_new_study(budget):
    assert identity(Search(space=SPACE, **budget)) == identity()


@pytest.mark.parametrize(
    "changed",
    [
        {"search": Search(space={"learning_rate": Range(low=1.0e-4, high=2.0e-2, log=True)})},
        {"search": Search(space={**SPACE, "epochs": Choices(choices=(1, 2))})},
        {"search": Search(space=SPACE, pruner="none")},
        {"search": Search(space=SPACE, reduction_factor=3)},
        {"search": Search(space=SPACE, min_fraction=0.4)},
        {"search": Search(space=SPACE, hopeless_alpha=None)},
        {"search": Search(space=SPACE, unpruned_trials=5)},
        {"search": Search(space=SPACE, sampler="random")},
        {"training": Training(epochs=2)},
        {"seed": 18},
        {"snapshot": "other"},
        {"base": "b"},
    ],
)
def test_whatever_changes_an_outcome_begins_a_new_study(changed):
    assert identity(**changed) != identity()


def test_the_order_of_the_space_means_nothing():
    fields = {**SPACE, "epochs": Choices(choices=(1, 2))}

    assert identity(Search(space=fields)) == identity(Search(space=dict(reversed(fields.items()))))
