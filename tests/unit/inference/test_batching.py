from __future__ import annotations

import pytest

from tasks.inference.batching import common_prefix_length, plan_batches, plan_parts


def test_each_row_stands_in_exactly_one_batch() -> None:
    lengths = [5, 40, 7, 7, 1, 23, 40, 12]

    batches = plan_batches(lengths, token_budget=50)

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


def test_no_batch_is_larger_than_the_budget_with_its_padding() -> None:
    lengths = [5, 40, 7, 7, 1, 23, 40, 12]

    batches = plan_batches(lengths, token_budget=50)

    assert all(len(batch) * max(lengths[row] for row in batch) <= 50 for batch in batches)
    assert len(batches) < len(lengths)


def test_a_row_beyond_the_budget_has_a_batch_of_its_own() -> None:
    assert plan_batches([3, 900, 3], token_budget=10) == [[1], [0, 2]]


def test_longest_rows_come_first() -> None:
    lengths = [5, 40, 7, 23]

    batches = plan_batches(lengths, token_budget=40)

    assert [lengths[row] for batch in batches for row in batch] == sorted(lengths, reverse=True)


def test_rows_of_different_lengths_are_kept_apart_where_padding_is_not_allowed() -> None:
    batches = plan_batches([4, 6, 4, 6, 5], token_budget=1000, equal_lengths=True)

    assert batches == [[1, 3], [4], [0, 2]]


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        ([], 0),
        ([[1, 2, 3]], 2),
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1, 2], [1, 2, 3]], 1),
        ([[1], [1, 2, 3]], 0),
        ([[1, 2, 9, 4], [1, 2, 3, 4], [1, 2, 5, 4]], 2),
        ([[7, 2, 3], [1, 2, 3]], 0),
    ],
)
def test_common_prefix_leaves_each_row_a_token_of_its_own(sequences: list[list[int]], length: int) -> None:
    assert common_prefix_length(sequences) == length


@pytest.mark.parametrize(
    ("padding", "tokens", "parts"),
    [
        (0, 100, [[30], [25, 25], [24], [9]]),
        (10, 100, [[30, 25, 25], [24], [9]]),
        (26, 100, [[30, 25, 25], [24, 9]]),
        (1000, 100, [[30, 25, 25], [24, 9]]),
        (1000, 1000, [[30, 25, 25, 24, 9]]),
        (1000, 1, [[30], [25], [25], [24], [9]]),
    ],
)
def test_a_part_holds_as_much_as_padding_and_tokens_allow(padding: int, tokens: int, parts: list[list[int]]) -> None:
    lengths = [30, 25, 25, 24, 9]

    found = plan_parts(lengths, padding=padding, tokens=tokens)

    assert [lengths[part] for part in found] == parts


def test_no_rows_make_no_part() -> None:
    assert plan_parts([], padding=8, tokens=8) == []
