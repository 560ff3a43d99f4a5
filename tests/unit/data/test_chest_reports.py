"""The conclusion follows from the findings as the grammar says."""

from __future__ import annotations

import re

import pytest

from tasks.data.chest_reports import reports

ROWS = list(reports(count=600))
NODULE = re.compile(r"(?P<place>[a-z ]+): solid nodule, (?P<size>\d+) mm, (?:was (?P<before>\d+) mm|new|unchanged)")


def lines_of(row: dict[str, str]) -> list[str]:
    return row["findings"].splitlines()[1:]


def sentences_about(row: dict[str, str], place: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=\.) ", row["conclusion"]) if f" {place}" in sentence]


def test_the_same_arguments_give_the_same_rows_and_another_seed_others() -> None:
    assert list(reports(count=20)) == ROWS[:20]
    assert list(reports(count=20, seed=1)) != ROWS[:20]


def test_what_is_normal_is_left_out() -> None:
    places = [(row, line.partition(":")[0]) for row in ROWS for line in lines_of(row) if line.endswith(": normal")]

    assert places
    assert all(sentences_about(row, place) == [] for row, place in places)


def test_where_all_is_normal_the_conclusion_says_so() -> None:
    assert {row["conclusion"] for row in ROWS if row["abnormal"] == "0"} == {"No relevant abnormality of the chest."}


@pytest.mark.parametrize(("size", "told"), [(9, False), (10, True)])
def test_a_lymph_node_counts_from_ten_millimetres(size: int, told: bool) -> None:
    found = [
        bool(sentences_about(row, line.partition(":")[0]))
        for row in ROWS
        for line in lines_of(row)
        if line.endswith(f": lymph node, {size} mm")
    ]

    assert set(found) == {told}


def test_a_nodule_that_grew_by_two_millimetres_is_to_be_sampled_and_no_other() -> None:
    grown = {True: 0, False: 0}
    for row in ROWS:
        for found in filter(None, map(NODULE.fullmatch, lines_of(row))):
            (sentence,) = sentences_about(row, found["place"])
            growing = found["before"] is not None and int(found["size"]) - int(found["before"]) >= 2
            grown[growing] += 1
            assert ("tissue sampling" in sentence) == growing

    assert min(grown.values()) > 10


def test_the_urgent_sentence_comes_first() -> None:
    both = [
        row["conclusion"] for row in ROWS if "tissue sampling" in row["conclusion"] and "follow-up" in row["conclusion"]
    ]

    assert both
    assert all(text.index("tissue sampling") < text.index("no follow-up") for text in both)
