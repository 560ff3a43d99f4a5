from __future__ import annotations

import pytest

from configs.errors import DataError
from tasks.data.preview import records_named, varied
from tasks.data.records import Record, Turn


def labelled(completions: str) -> list[Record]:
    return [Record(str(i), "train", str(i), (Turn("user", "x"),), label) for i, label in enumerate(completions)]


def test_a_preview_shows_each_label_before_it_repeats_one() -> None:
    assert [record.completion for record in varied(labelled("aaaabca"), 3)] == ["a", "b", "c"]


def test_records_are_found_by_their_ids() -> None:
    records = labelled("abc")

    assert records_named(["2", "0"], records) == [records[2], records[0]]
    with pytest.raises(DataError, match="no record 7, x"):
        records_named(["7", "1", "x"], records)


def test_a_preview_of_few_labels_goes_on_with_the_next_records() -> None:
    assert [record.record_id for record in varied(labelled("aaab"), 3)] == ["0", "1", "3"]
    assert [record.record_id for record in varied(labelled("ab"), 9)] == ["0", "1"]
