from __future__ import annotations

import pytest

from tasks.data.records import Record, SplitName, Turn
from tasks.monitoring.data_changes import compare_records


def record(prompt: str, completion: str = "a", split: SplitName = "train", **metadata: str) -> Record:
    return Record(f"{prompt}-{completion}", split, prompt, (Turn("user", prompt),), completion, metadata)


BEFORE = [record("one"), record("two", "b"), record("three", "b"), record("four", "a", "test")]


@pytest.mark.parametrize(
    ("now", "added", "removed", "changed"),
    [
        (BEFORE, 0, 0, 0),
        (list(reversed(BEFORE)), 0, 0, 0),
        ([*BEFORE, record("five")], 1, 0, 0),
        (BEFORE[1:], 0, 1, 0),
        ([record("one", "b"), *BEFORE[1:]], 0, 0, 1),
        ([record("one", channel="chat"), *BEFORE[1:]], 0, 0, 1),
        ([*BEFORE, record("one")], 1, 0, 0),
        ([record("six"), record("seven"), *BEFORE[2:]], 2, 2, 0),
        ([record("one", "b"), record("one", "c"), *BEFORE[1:]], 1, 0, 1),
        ([], 0, 4, 0),
    ],
)
def test_rows_added_removed_and_changed(now: list[Record], added: int, removed: int, changed: int) -> None:
    found = compare_records(BEFORE, now, has_labels=True)

    assert (found.added, found.removed, found.changed) == (added, removed, changed)
    assert (found.before, found.now) == (4, len(now))


@pytest.mark.parametrize(
    ("completions", "shift"),
    [("abb", 0.0), ("bba", 0.0), ("bbb", 1 / 3), ("aab", 1 / 3), ("ccc", 1.0), ("abbabb", 0.0)],
)
def test_the_label_shift_is_the_total_variation_distance_of_the_training_labels(completions: str, shift: float) -> None:
    now = [record(f"p{number}", label) for number, label in enumerate(completions)]

    assert compare_records(BEFORE, now, has_labels=True).label_shift == pytest.approx(shift)


def test_labels_are_told_by_the_size_of_their_change() -> None:
    now = [record("p", "b"), record("q", "b"), record("r", "b"), record("s", "c")]

    shares = compare_records(BEFORE, now, has_labels=True).labels

    assert [share.label for share in shares] == ["a", "c", "b"]
    assert (shares[0].before, shares[0].now) == (pytest.approx(1 / 3), 0.0)


def test_open_generation_has_no_label_shift() -> None:
    found = compare_records(BEFORE, BEFORE, has_labels=False)

    assert found.label_shift is None
    assert found.labels == ()


def test_records_that_were_trained_on_and_are_tested_now_are_counted() -> None:
    moved = [record("one", split="test"), *BEFORE[1:]]

    assert compare_records(BEFORE, moved, has_labels=True).trained_on_now_tested == 1
    assert compare_records(BEFORE, [*BEFORE, record("new", split="test")], has_labels=True).trained_on_now_tested == 0
