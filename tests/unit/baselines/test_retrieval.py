from __future__ import annotations

import pytest

from configs.errors import DataError
from tasks.baselines.retrieval import SETTINGS_TRIED, choose_retrieval, is_retrieval, retrieve_answers
from tasks.data.records import Record, Turn

NEAREST, COMMONEST = SETTINGS_TRIED


def record(record_id: str, prompt: str, completion: str, split: str = "train") -> Record:
    return Record(record_id, split, record_id, (Turn("user", prompt),), completion)


TRAIN = [
    record("a", "the heater is cold", "Check the thermostat."),
    record("b", "smell of gas in the kitchen", "Leave the house and call."),
    record("c", "the radiator is cold", "Check the thermostat."),
]


def outputs(queries: list[Record], settings=NEAREST, train=TRAIN) -> list[str]:
    return [each.output for each in retrieve_answers(train, queries, settings=settings, latency_records=1).answers]


def test_the_most_similar_record_answers() -> None:
    queries = [record("q", "I smell gas", "", "test"), record("r", "cold heaters", "", "test")]

    assert outputs(queries) == ["Leave the house and call.", "Check the thermostat."]


def test_a_prompt_like_no_other_gets_the_commonest_completion() -> None:
    assert outputs([record("q", "ЖЖЖ", "", "test")]) == ["Check the thermostat."]


def test_prompts_without_a_word_get_the_commonest_completion() -> None:
    empty = [record("a", " ", "x"), record("b", " ", "y"), record("c", " ", "y")]

    assert outputs([record("q", "anything", "", "test")], train=empty) == ["y"]


def test_the_order_of_the_training_records_does_not_count() -> None:
    queries = [record("q", "cold", "", "test")]

    assert outputs(queries, train=TRAIN[::-1]) == outputs(queries)


def test_validation_chooses_between_the_nearest_and_the_commonest() -> None:
    alike = [record("v", "smell of gas", "Leave the house and call.", "validation")]
    unlike = [record("v", "smell of gas", "Check the thermostat.", "validation")]

    assert choose_retrieval(TRAIN, alike, metric="exact_match").settings == NEAREST
    assert choose_retrieval(TRAIN, unlike, metric="exact_match").settings == COMMONEST


def test_so_many_records_are_timed_as_asked() -> None:
    queries = [record(name, "cold", "", "test") for name in "qr"]
    answers = retrieve_answers(TRAIN, queries, settings=NEAREST, latency_records=1)

    assert len(answers.latency_seconds) == 1
    assert answers.records_per_second > 0


def test_no_training_record_is_told() -> None:
    with pytest.raises(DataError, match="no training record"):
        outputs([], train=[])


def test_its_settings_are_told_from_the_classifiers() -> None:
    assert is_retrieval(NEAREST)
    assert not is_retrieval((("word_ngrams", 1),))
