"""The conclusion follows from the findings as the grammar says."""

from __future__ import annotations

import re

import pytest

from tasks.data.chest_reports import reports

Row = dict[str, str]
NODULE = re.compile(r"(?P<place>[a-z ]+): solid nodule, (?P<size>\d+) mm, (?:was (?P<before>\d+) mm|new|unchanged)")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(reports(count=600))


def lines_of(row: Row) -> list[str]:
    return row["findings"].splitlines()[1:]


def sentences_about(row: dict[str, str], place: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=\.) ", row["conclusion"]) if f" {place}" in sentence]


def test_the_same_arguments_give_the_same_rows_and_another_seed_others(rows: list[Row]) -> None:
    assert list(reports(count=20)) == rows[:20]
    assert list(reports(count=20, seed=1)) != rows[:20]


def test_what_is_normal_is_left_out(rows: list[Row]) -> None:
    places = [(row, line.partition(":")[0]) for row in rows for line in lines_of(row) if line.endswith(": normal")]

    assert places
    assert all(sentences_about(row, place) == [] for row, place in places)


def test_where_all_is_normal_the_conclusion_says_so(rows: list[Row]) -> None:
    assert {row["conclusion"] for row in rows if row["abnormal"] == "0"} == {"No relevant abnormality of the chest."}


@pytest.mark.parametrize(("size", "told"), [(9, False), (10, True)])
def test_a_lymph_node_counts_from_ten_millimetres(rows: list[Row], size: int, told: bool) -> None:
    found = [
        bool(sentences_about(row, line.partition(":")[0]))
        for row in rows
        for line in lines_of(row)
        if line.endswith(f": lymph node, {size} mm")
    ]

    assert set(found) == {told}


def test_a_nodule_that_grew_by_two_millimetres_is_to_be_sampled_and_no_other(rows: list[Row]) -> None:
    grown = {True: 0, False: 0}
    for row in rows:
        for found in filter(None, map(NODULE.fullmatch, lines_of(row))):
            (sentence,) = sentences_about(row, found["place"])
            growing = found["before"] is not None and int(found["size"]) - int(found["before"]) >= 2
            grown[growing] += 1
            assert ("tissue sampling" in sentence) == growing

    assert min(grown.values()) > 10


def test_the_urgent_sentence_comes_first(rows: list[Row]) -> None:
    conclusions = [row["conclusion"] for row in rows]
    both = [text for text in conclusions if "tissue sampling" in text and "no follow-up" in text]

    assert both
    assert all(text.index("tissue sampling") < text.index("no follow-up") for text in both)
