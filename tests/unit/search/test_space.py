from typing import Any

import pytest
from optuna.trial import FixedTrial, Trial
from pydantic import ValidationError

from configs.drawing_order import in_drawing_order
from configs.loading import parse_recipe
from configs.schema import Choices, Range, Recipe, Search, Training
from tasks.search.space import (
    CombinationRefused,
    fitting_parameters,
    own_parameters,
    resolve_training,
    suggest,
    templates_to_try,
    worthwhile_search,
)


def test_a_whole_field_is_drawn_as_a_whole_number():
    space = {"lora_rank": Range(low=4, high=64, log=True)}

    drawn = suggest(FixedTrial({"lora_rank": 8}), space)

    assert drawn == {"lora_rank": 8}
    assert type(drawn["lora_rank"]) is int


def test_an_optional_whole_field_is_drawn_as_a_whole_number():
    drawn = suggest(FixedTrial({"micro_batch_size": 4}), {"micro_batch_size": Range(low=1, high=8)})

    assert type(drawn["micro_batch_size"]) is int


def test_each_kind_of_field_is_drawn_within_its_bounds():
    class Recorder:
        def __init__(self):
            self.asked = []

        def suggest_float(self, field, low, high, *, log):
            self.asked.append((field, low, high, log))
            return low

        def suggest_int(self, field, low, high, *, log):
            self.asked.append((field, low, high, log))
            return low

        def suggest_categorical(self, field, choices):
            self.asked.append((field, choices))
            return choices[0]

    recorder = Recorder()
    space = {
        "schedule": Choices(choices=("linear", "cosine")),
        "epochs": Range(low=1, high=3),
        "learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True),
    }

    drawn = suggest(recorder, space)

    assert recorder.asked == [
        ("epochs", 1, 3, False),
        ("learning_rate", 1.0e-4, 1.0e-2, True),
        ("schedule", ("linear", "cosine")),
    ]
    assert drawn == {"epochs": 1, "learning_rate": 1.0e-4, "schedule": "linear"}


def test_the_order_of_the_space_in_the_recipe_means_nothing():
    fields = {"learning_rate": Range(low=1.0e-4, high=1.0e-2), "epochs": Range(low=1, high=3)}
    values = {"learning_rate": 1.0e-3, "epochs": 2}

    forward = suggest(FixedTrial(values), fields)
    backward = suggest(FixedTrial(values), dict(reversed(fields.items())))

    assert list(forward) == list(backward)


def test_own_values_are_those_of_the_searched_fields():
    training = Training(learning_rate=2.0e-3, lora_rank=8)
    space = {"learning_rate": Range(low=1.0e-4, high=1.0e-2), "lora_rank": Choices(choices=(4, 8, 16))}

    assert own_parameters(space, training) == {"learning_rate": 2.0e-3, "lora_rank": 8}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("learning_rate", Range(low=1.0e-5, high=1.0e-4)),
        ("lora_rank", Choices(choices=(64, 128))),
        ("micro_batch_size", Range(low=1, high=4)),
    ],
)
def test_an_own_value_outside_the_space_is_left_to_the_draw(field, values):
    assert own_parameters({field: values}, Training()) == {}


def test_parameters_replace_only_their_fields():
    training = Training(learning_rate=2.0e-3, epochs=3)

    resolved = resolve_training(training, {"epochs": 1})

    assert resolved == Training(learning_rate=2.0e-3, epochs=1)


def test_a_choice_written_as_a_fraction_becomes_the_whole_number_of_its_field():
    assert resolve_training(Training(), {"batch_size": 8.0}).batch_size == 8


def test_values_that_contradict_each_other_are_refused_with_the_reason():
    with pytest.raises(CombinationRefused, match=r"micro_batch_size must divide batch_size, got 6 and 16"):
        resolve_training(Training(batch_size=16), {"micro_batch_size": 6})


def test_the_stand_in_has_the_methods_of_a_trial():
    assert all(hasattr(Trial, name) for name in ("suggest_float", "suggest_int", "suggest_categorical"))


def test_an_earlier_studys_values_are_taken_as_far_as_the_space_holds_them():
    space = {
        "learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True),
        "lora_rank": Range(low=2, high=8),
        "schedule": Choices(choices=("linear", "cosine")),
        "epochs": Choices(choices=(1, 2)),
    }
    earlier = {"learning_rate": 1.0e-3, "lora_rank": 16, "schedule": "constant", "weight_decay": 0.1}

    assert fitting_parameters(space, earlier) == {"learning_rate": 1.0e-3}
    assert fitting_parameters(space, {"lora_rank": "large", "epochs": 2}) == {"epochs": 2}


CONDITIONAL = {
    "schedule": Choices(choices=("constant", "cosine")),
    "warmup_fraction": Range(low=0.01, high=0.2, when={"schedule": "cosine"}),
    "batch_size": Choices(choices=(8, 16), when={"schedule": "cosine"}),
    "micro_batch_size": Choices(choices=(4, 8), when={"batch_size": 16}),
}


def test_a_field_is_drawn_only_where_its_condition_holds():
    every = {"schedule": "cosine", "warmup_fraction": 0.1, "batch_size": 16, "micro_batch_size": 4}

    assert suggest(FixedTrial(every), CONDITIONAL) == every
    assert suggest(FixedTrial({**every, "schedule": "constant"}), CONDITIONAL) == {"schedule": "constant"}
    assert "micro_batch_size" not in suggest(FixedTrial({**every, "batch_size": 8}), CONDITIONAL)


def test_a_field_is_drawn_after_those_that_its_condition_names():
    assert list(in_drawing_order(CONDITIONAL)) == ["schedule", "batch_size", "micro_batch_size", "warmup_fraction"]
    assert in_drawing_order(dict(reversed(CONDITIONAL.items()))) == in_drawing_order(CONDITIONAL)


def test_own_values_leave_out_what_their_condition_rules_out():
    constant = Training(schedule="constant", warmup_fraction=0.05, batch_size=16)

    assert own_parameters(CONDITIONAL, constant) == {"schedule": "constant"}
    assert own_parameters(CONDITIONAL, Training(warmup_fraction=0.05)) == {
        "schedule": "cosine", "warmup_fraction": 0.05, "batch_size": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"warmup_fraction": {"low": 0.0, "high": 0.2, "when": {"schedule": "cosine"}}}, "a field with choices"),
        (
            {
                "lora_rank": {"low": 2, "high": 8},
                "warmup_fraction": {"low": 0.0, "high": 0.2, "when": {"lora_rank": 4}},
            },
            "a field with choices",
        ),
        (
            {
                "schedule": {"choices": ["linear", "cosine"]},
                "warmup_fraction": {"low": 0.0, "high": 0.2, "when": {"schedule": "constant"}},
            },
            "must name one of",
        ),
        (
            {
                "schedule": {"choices": ["linear", "cosine"], "when": {"batch_size": 8}},
                "batch_size": {"choices": [8, 16], "when": {"schedule": "linear"}},
            },
            "in a circle: batch_size, schedule",
        ),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(space, said):
    with pytest.raises(ValidationError, match=said):
        Search(space=space)


TEMPLATES = {"recipe": {"prompt": "a"}, "winner": {"prompt": "b"}}


def _recipe(**sections: Any) -> Recipe:
    base = {"name": "x", "base": {"kind": "tiny"}, "data": {"source": {"kind": "file", "path": "rows.jsonl"}}}
    return parse_recipe({**base, **sections}, source="test")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, ["recipe"]),
        ({"training": {"template": "winner"}}, ["winner"]),
        ({"search": {"space": {"template": {"choices": ["recipe", "winner"]}}}}, ["recipe", "winner"]),
        ({"search": {"space": {"template": {"choices": ["winner"]}}}}, ["recipe", "winner"]),
    ],
)
def test_the_wordings_to_train_on_are_those_that_the_recipe_names(
    sections: dict[str, Any], expected: list[str]
) -> None:
    assert templates_to_try(_recipe(**sections), TEMPLATES) == {name: TEMPLATES[name] for name in expected}


def test_a_choice_that_other_fields_hang_on_stays() -> None:
    rank = {"choices": [4, 8], "when": {"template": "winner"}}
    search = _recipe(search={"space": {"template": {"choices": ["recipe", "winner"]}, "lora_rank": rank}}).search

    assert worthwhile_search(search, {name: TEMPLATES["recipe"] for name in TEMPLATES}) == search


def test_a_choice_between_equal_wordings_is_no_choice() -> None:
    space = {"template": {"choices": ["recipe", "winner"]}, "lora_rank": {"choices": [4, 8]}}
    search = _recipe(search={"space": space}).search

    assert worthwhile_search(search, TEMPLATES) == search
    assert set(worthwhile_search(search, {name: TEMPLATES["recipe"] for name in TEMPLATES}).space) == {"lora_rank"}
