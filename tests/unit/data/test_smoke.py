from __future__ import annotations

from collections import Counter, defaultdict

from tasks.data.smoke import records


def test_the_same_arguments_give_the_same_records() -> None:
    assert list(records()) == list(records())
    assert list(records(seed=1)) != list(records())


def test_more_records_keep_those_that_were_there() -> None:
    assert list(records(count=300))[:240] == list(records())


def test_labels_are_balanced_and_groups_mix_them() -> None:
    rows = list(records())

    labels_of = defaultdict(set)
    for row in rows:
        labels_of[row["customer"]].add(row["completion"])
    assert set(Counter(row["completion"] for row in rows).values()) == {60}
    assert all(len(labels) == 3 for labels in labels_of.values())


def test_a_word_of_the_prompt_tells_the_label() -> None:
    labels_of_word = defaultdict(set)
    for row in records():
        labels_of_word[row["prompt"].split(" my ")[1].split(",")[0]].add(row["completion"])

    assert len(labels_of_word) == 8
    assert all(len(labels) == 1 for labels in labels_of_word.values())


def test_no_two_prompts_are_equal() -> None:
    assert len({row["prompt"] for row in records()}) == 240
