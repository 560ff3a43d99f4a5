import pytest

from configs.schema import Baseline, Chain, Template
from tasks.baselines.prompt_options import (
    choose_best,
    prompt_options,
    registry_template,
    shortlist,
    templates_to_train_with,
)
from tasks.inference.options import Option

TEMPLATE = Template(prompt="{{ prompt }}: ")
LABELS = ("yes", "no")


def names(baseline, *, labels=LABELS, template=TEMPLATE):
    return [option.name for option in prompt_options(baseline, template, labels)]


def test_every_combination_is_tried_shortest_prompts_first():
    baseline = Baseline(shots=(4, 0), strategies=("random", "nearest"))

    assert names(baseline) == [
        "zero-shot",
        "zero-shot (label scoring)",
        "random-4",
        "random-4 (label scoring)",
        "nearest-4",
        "nearest-4 (label scoring)",
    ]


def test_an_option_holds_all_that_its_name_says():
    (option,) = prompt_options(
        Baseline(shots=(8,), strategies=("nearest",), decoding=("label_scoring",)), TEMPLATE, LABELS
    )

    assert (option.kind, option.shots, option.shot_strategy, option.decoding) == (
        "prompt",
        8,
        "nearest",
        "label_scoring",
    )
    assert option.template == TEMPLATE


def test_without_labels_there_is_no_label_scoring_and_no_balance():
    assert names(Baseline(shots=(0, 4), strategies=("random", "balanced")), labels=None) == ["zero-shot", "random-4"]


def test_zero_shot_is_tried_once_whatever_the_strategies():
    assert names(Baseline(shots=(0, 0)), labels=None) == ["zero-shot"]


def test_other_wordings_are_tried_beside_the_recipes_own():
    short = Template(prompt="{{ prompt }}")
    baseline = Baseline(shots=(0,), decoding=("generate",), templates={"short": short, "same": TEMPLATE})

    options = prompt_options(baseline, TEMPLATE, LABELS)

    assert [(option.name, option.template) for option in options] == [
        ("zero-shot", TEMPLATE),
        ("zero-shot, template short", short),
    ]


def test_names_are_unique():
    baseline = Baseline(templates={"short": Template(prompt="{{ prompt }}")})

    found = names(baseline)

    assert len(found) == len(set(found)) == 2 * 2 * (1 + 2 * 3)


def test_several_orders_are_tried_where_there_are_several_examples():
    baseline = Baseline(shots=(0, 1, 2, 8), strategies=("random",), decoding=("generate",), orders=3)

    assert names(baseline) == [
        "zero-shot", "random-1", "random-2", "random-2, order 2", "random-8", "random-8, order 2", "random-8, order 3",
    ]  # fmt: skip


def test_no_shots_means_no_prompts():
    assert names(Baseline(shots=())) == []


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({"zero-shot": 0.1, "random-4": 0.3, "random-8": 0.2}, "random-4"),
        ({"zero-shot": 0.1, "random-4": 0.3, "random-8": 0.3}, "random-4"),
        ({"zero-shot": 0.0, "random-4": 0.0, "random-8": 0.0}, "zero-shot"),
    ],
)
def test_the_best_prompt_is_the_highest_and_among_equals_the_shortest(scores, best):
    baseline = Baseline(shots=(0, 8, 4), strategies=("random",), decoding=("generate",))
    options = prompt_options(baseline, TEMPLATE, LABELS)

    assert choose_best(options, scores).name == best
    assert choose_best(options[::-1], scores).name == best


def test_the_shortlist_holds_the_best_of_each_kind_best_first():
    options = prompt_options(
        Baseline(shots=(0, 4, 8), strategies=("random", "nearest"), decoding=("generate",)), TEMPLATE, LABELS
    )
    scores = {"zero-shot": 0.2, "random-4": 0.1, "random-8": 0.15, "nearest-4": 0.5, "nearest-8": 0.4}

    assert [option.name for option in shortlist(options, scores)] == ["nearest-4", "zero-shot", "random-8"]


@pytest.mark.parametrize(
    ("shots", "instruction", "expected"),
    [
        (0, "", "Q: {{ input }}\nA:"),
        (0, "Answer.", "Answer.\n\nQ: {{ input }}\nA:"),
        (4, "Answer.", "Answer.\n\n{{ examples }}\n\nQ: {{ input }}\nA:"),
    ],
)
def test_the_registry_holds_the_wording_and_no_example(shots: int, instruction: str, expected: str) -> None:
    template = Template(instruction=instruction, prompt="Q: {{ prompt }}\nA:", completion=" {{ completion }}")

    assert registry_template(Option("any", "prompt", template, shots=shots)) == expected


def test_a_chat_prompt_is_registered_as_messages() -> None:
    template = Template(kind="chat", instruction="Be kind.")

    assert registry_template(Option("any", "prompt", template)) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "{{ input }}"},
    ]


CHAIN = Chain(first=Template(prompt="Summarise: {{ prompt }}"), then=Template(prompt="{{ first_answer }}: "))


def test_a_chain_is_tried_beside_the_other_prompts_without_examples():
    baseline = Baseline(shots=(0, 4), strategies=("random",), chains={"summary": CHAIN})

    *_, generated, scored = prompt_options(baseline, TEMPLATE, LABELS)

    assert (generated.name, scored.name) == ("chain summary", "chain summary (label scoring)")
    assert (generated.first, generated.template, generated.shots) == (CHAIN.first, CHAIN.then, 0)
    assert len(names(baseline)) == 6


def test_the_best_chain_goes_on_beside_the_best_zero_shot_prompt():
    options = prompt_options(Baseline(shots=(0,), decoding=("generate",), chains={"summary": CHAIN}), TEMPLATE, LABELS)

    best = shortlist(options, {"zero-shot": 0.5, "chain summary": 0.4})

    assert [option.name for option in best] == ["zero-shot", "chain summary"]


def test_the_wording_to_train_on_is_that_of_the_best_prompt_of_one_step():
    short = Template(prompt="{{ prompt }}")
    baseline = Baseline(shots=(0,), decoding=("generate",), templates={"short": short}, chains={"summary": CHAIN})
    options = prompt_options(baseline, TEMPLATE, LABELS)
    scores = {"zero-shot": 0.1, "zero-shot, template short": 0.3, "chain summary": 0.9}

    found = templates_to_train_with(TEMPLATE, options, scores)

    assert found == {"recipe": TEMPLATE.model_dump(mode="json"), "winner": short.model_dump(mode="json")}
    assert templates_to_train_with(TEMPLATE, [], {})["winner"] == TEMPLATE.model_dump(mode="json")
