from dataclasses import replace

import pytest

from configs.errors import DataError
from tasks.baselines.classical_classifier import (
    SETTINGS_TRIED,
    choose_settings,
    classical_option,
    fit_and_answer,
)
from tasks.data.records import Record, Turn

STEMS = {"heart": "cardi", "lung": "pulmon", "skin": "derm"}


def records(split, *, per_label=12, start=0):
    return [
        Record(
            record_id=f"{split}-{label}-{n}",
            split=split,
            group=f"{label}-{n}",
            turns=(Turn("user", f"{stem}{'aeiou'[n % 5]}{'xyz'[n % 3]} finding {n}"),),
            completion=label,
        )
        for label, stem in STEMS.items()
        for n in range(start, start + per_label)
    ]


def answer(train, queries, settings=SETTINGS_TRIED[0], latency_records=0):
    return fit_and_answer(train, queries, settings=settings, seed=17, latency_records=latency_records)


def outputs(answers):
    return [each.output for each in answers.answers]


def test_word_stems_that_were_seen_are_recognised_in_new_words():
    queries = records("test", start=100)

    answers = answer(records("train"), queries)

    assert outputs(answers) == [record.completion for record in queries]
    assert [each.record_id for each in answers.answers] == [record.record_id for record in queries]


def test_the_same_input_gives_the_same_outputs():
    train, queries = records("train"), records("test", start=100)

    assert outputs(answer(train, queries)) == outputs(answer(train, queries))


def test_the_answer_to_a_record_hangs_on_its_prompt_alone():
    train, queries = records("train"), records("test", start=100)
    disguised = [replace(record, completion="?", metadata={"label": "?"}) for record in queries]

    assert outputs(answer(train, disguised)) == outputs(answer(train, queries))


def test_latency_is_measured_on_as_many_records_as_asked():
    answers = answer(records("train"), records("test"), latency_records=5)

    assert len(answers.latency_seconds) == 5
    assert answers.records_per_second > 0


def test_there_may_be_nothing_to_answer():
    assert answer(records("train"), []).answers == ()


def test_settings_are_chosen_by_their_score_on_validation():
    chosen = choose_settings(records("train"), records("validation", start=50), metric="exact_match", seed=17)

    assert {settings for settings, _ in chosen.tried} == set(SETTINGS_TRIED)
    assert chosen.value == max(value for _, value in chosen.tried)
    assert (chosen.settings, chosen.value) in chosen.tried


def test_the_value_is_the_score_on_validation_not_on_training():
    train = records("train", per_label=4) + records("train", per_label=1, start=30)
    validation = records("validation", start=50)
    wrong = [replace(record, completion="nothing") for record in validation]

    assert choose_settings(train, wrong, metric="exact_match", seed=17).value == 0
    assert choose_settings(train, validation, metric="exact_match", seed=17).value > 0.9


@pytest.mark.parametrize("split", ["validation", "test"])
def test_only_training_records_may_train(split):
    with pytest.raises(ValueError, match="only training records"):
        answer([*records("train"), records(split)[0]], records("test"))


def test_one_label_is_refused():
    train = [replace(record, completion="heart") for record in records("train")]

    with pytest.raises(DataError, match="at least 2 labels, found 1"):
        answer(train, records("test"))


def test_prompts_without_text_are_refused():
    train = [replace(record, turns=(Turn("user", " "),)) for record in records("train")]

    with pytest.raises(DataError, match="only empty prompts"):
        choose_settings(train, records("validation"), metric="exact_match", seed=17)


def test_prompts_without_words_go_by_their_characters():
    marks = {"heart": "!!", "lung": "??", "skin": "++"}
    train = [replace(record, turns=(Turn("user", marks[record.completion]),)) for record in records("train")]

    assert outputs(answer(train, train)) == [record.completion for record in train]


def test_the_option_keeps_its_settings():
    option = classical_option(SETTINGS_TRIED[3])

    assert (option.kind, option.classical_settings) == ("classical", SETTINGS_TRIED[3])
    assert outputs(answer(records("train"), records("test"), option.classical_settings))
