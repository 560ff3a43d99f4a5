from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import StorageError
from configs.schema import Template
from tasks.data.records import Record, Turn
from tasks.inference.answers import (
    ANSWERS_FILE,
    option_as_json,
    option_from_json,
    option_key,
    read_answers,
    select_records,
    write_answers,
)
from tasks.inference.options import Answer, Answers, Option

ANSWERS = Answers(
    answers=(Answer("a1", "Ω two\nlines, \x1b[31m", 5, 3), Answer("b2", "", 7, 0, samples=("x", ""))),
    records_per_second=12.5,
    latency_seconds=(0.25, 0.5),
)
OPTION = Option("nearest-8", "prompt", Template(prompt="{{ prompt }}?"), "label_scoring", 8, "nearest")


def records(count: int) -> list[Record]:
    return [Record(f"{number * 7 % 101:04x}", "test", "g", (Turn("user", "x"),), "y") for number in range(count)]


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    digest = write_answers(ANSWERS, tmp_path, split="test")

    assert read_answers(tmp_path, digest) == ANSWERS


def test_equal_answers_have_one_digest_and_others_another(tmp_path: Path) -> None:
    digest = write_answers(ANSWERS, tmp_path, split="test")

    assert write_answers(ANSWERS, tmp_path, split="test") == digest
    assert write_answers(ANSWERS, tmp_path, split="validation") != digest
    assert write_answers(replace(ANSWERS, answers=ANSWERS.answers[:1]), tmp_path, split="test") != digest


def test_no_answers_at_all_can_be_stored(tmp_path: Path) -> None:
    empty = Answers((), 0.0, ())

    assert read_answers(tmp_path, write_answers(empty, tmp_path)) == empty


def test_missing_answers_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no readable"):
        read_answers(tmp_path, "0" * 64)


def test_damaged_answers_are_refused(tmp_path: Path) -> None:
    digest = write_answers(ANSWERS, tmp_path)
    (tmp_path / digest / ANSWERS_FILE).write_bytes(b"PAR1 nonsense")

    with pytest.raises(StorageError, match=r"damaged .*delete it"):
        read_answers(tmp_path, digest)


def test_an_option_survives_json() -> None:
    assert option_from_json(json.loads(json.dumps(option_as_json(OPTION)))) == OPTION


def test_classical_settings_survive_json() -> None:
    option = Option("classical", "classical", classical_settings=(("c", 0.5), ("ngrams", 2), ("weight", "balanced")))

    assert option_from_json(json.loads(json.dumps(option_as_json(option)))) == option


def test_the_key_of_an_option_ignores_its_name_and_follows_the_rest() -> None:
    others = [
        replace(OPTION, shots=4),
        replace(OPTION, shot_strategy="random"),
        replace(OPTION, decoding="generate"),
        replace(OPTION, adapter="f" * 64),
        replace(OPTION, template=Template(prompt="{{ prompt }}!")),
    ]

    assert option_key(replace(OPTION, name="other")) == option_key(OPTION)
    assert len({option_key(option) for option in (OPTION, *others)}) == 6


def test_selected_records_are_the_same_whatever_the_order() -> None:
    assert select_records(records(20), 5) == select_records(records(20)[::-1], 5)


def test_a_higher_limit_only_adds_to_the_selection() -> None:
    every, some = select_records(records(20), None), select_records(records(20), 5)

    assert every[:5] == some
    assert len(every) == 20
