from __future__ import annotations

import numpy as np
import pytest

from tasks.training.batches import Example, batches_per_epoch, epoch_batches, micro_batches, pack_batch

LENGTHS = [int(length) for length in np.random.default_rng(5).integers(3, 90, size=1003)]


def test_each_record_stands_in_one_batch() -> None:
    batches = epoch_batches(LENGTHS, batch_size=16, seed=1, epoch=0)

    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))


def test_batches_are_full_but_one() -> None:
    batches = epoch_batches(LENGTHS, batch_size=16, seed=1, epoch=0)

    assert sorted(map(len, batches)) == [1003 % 16] + [16] * 62
    assert len(batches) == batches_per_epoch(len(LENGTHS), 16)


def test_passes_of_a_batch_hold_records_of_similar_length() -> None:
    def padded(passes: list[list[int]]) -> int:
        return sum(len(part) * max(LENGTHS[index] for index in part) for part in passes)

    batches = epoch_batches(LENGTHS, batch_size=16, seed=1, epoch=0)

    passes = [batch[start : start + 8] for batch in batches for start in range(0, len(batch), 8)]
    assert padded(passes) < 0.8 * padded(batches)


def test_who_is_in_a_batch_does_not_depend_on_lengths() -> None:
    def members(lengths: list[int]) -> list[frozenset[int]]:
        return [frozenset(batch) for batch in epoch_batches(lengths, batch_size=16, seed=1, epoch=0)]

    assert members(LENGTHS) == members([1] * len(LENGTHS))


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    assert epoch_batches(LENGTHS, batch_size=8, seed=3, epoch=2) == epoch_batches(
        LENGTHS, batch_size=8, seed=3, epoch=2
    )


@pytest.mark.parametrize(("seed", "epoch"), [(3, 1), (4, 0)])
def test_another_seed_or_epoch_gives_another_order(seed: int, epoch: int) -> None:
    first = epoch_batches(LENGTHS, batch_size=8, seed=3, epoch=0)

    assert epoch_batches(LENGTHS, batch_size=8, seed=seed, epoch=epoch) != first


def test_batches_are_not_ordered_by_length() -> None:
    longest = [
        max(LENGTHS[index] for index in batch) for batch in epoch_batches(LENGTHS, batch_size=8, seed=3, epoch=0)
    ]

    assert longest != sorted(longest)


def test_micro_batches_hold_the_whole_batch_in_order() -> None:
    batch = [Example((1,), (token,)) for token in range(7)]

    parts = micro_batches(batch, 3)

    assert [len(part) for part in parts] == [3, 3, 1]
    assert [example for part in parts for example in part] == batch


def test_without_a_micro_batch_size_the_batch_stays_whole() -> None:
    batch = [Example((1,), (2,))] * 5

    assert micro_batches(batch, None) == [batch]


def test_only_completion_tokens_are_labels() -> None:
    batch = pack_batch([Example((1, 5, 6), (7, 2)), Example((1,), (8, 9, 2))], pad_id=0)

    assert batch.input_ids.tolist() == [[1, 5, 6, 7], [1, 8, 9, 0]]
    predicted = [
        (batch.input_ids[row, column], target)
        for row, column, target in zip(batch.rows, batch.columns, batch.targets, strict=True)
    ]
    assert predicted == [(6, 7), (7, 2), (1, 8), (8, 9), (9, 2)]


def test_a_first_token_that_nothing_precedes_is_no_label() -> None:
    batch = pack_batch([Example((), (7, 8, 2))], pad_id=0)

    assert batch.targets.tolist() == [8, 2]
    assert Example((), (7, 8, 2)).label_count == 2


EXAMPLES = [Example((1,), (token,) * length) for token, length in ((5, 6), (6, 2), (7, 3), (8, 1), (9, 4))]
"""Of 6, 2, 3, 1 and 4 tokens without the last."""


def test_examples_share_rows_of_about_the_width() -> None:
    batch = pack_batch(EXAMPLES, pad_id=0, row_tokens=8)

    assert batch.input_ids.tolist() == [[1, 5, 5, 5, 5, 5, 1, 6], [1, 9, 9, 9, 1, 7, 7, 1]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1], [0, 1, 2, 3, 0, 1, 2, 0]]


def test_the_rest_of_a_row_is_padding_whose_positions_begin_anew() -> None:
    batch = pack_batch(EXAMPLES[:3], pad_id=0, row_tokens=6)

    assert batch.input_ids.tolist() == [[1, 5, 5, 5, 5, 5], [1, 7, 7, 1, 6, 0]]
    assert batch.position_ids is not None
    assert batch.position_ids[1].tolist() == [0, 1, 2, 0, 1, 0]


def test_labels_keep_their_order_wherever_their_examples_stand() -> None:
    batch = pack_batch(EXAMPLES, pad_id=0, row_tokens=8)

    assert batch.targets.tolist() == pack_batch(EXAMPLES, pad_id=0).targets.tolist()
    before = batch.input_ids[batch.rows, batch.columns].tolist()
    assert before == [1, *[5] * 5, 1, 6, 1, 7, 7, 1, 1, 9, 9, 9]


def test_a_row_is_as_wide_as_the_longest_example_at_least() -> None:
    assert pack_batch(EXAMPLES, pad_id=0, row_tokens=2).input_ids.shape == (3, 6)


@pytest.mark.parametrize(("lengths", "row_tokens"), [((6, 6), 0), ((6, 6), 6), ((60, 60, 60), 128), ((5,), 128)])
def test_where_shared_rows_are_of_no_use_each_has_its_own(lengths: tuple[int, ...], row_tokens: int) -> None:
    batch = pack_batch([Example((1,), (2,) * length) for length in lengths], pad_id=0, row_tokens=row_tokens)

    assert batch.input_ids.shape == (len(lengths), max(lengths))
    assert batch.position_ids is None


def test_shared_rows_hold_hardly_any_padding() -> None:
    examples = [Example((1,), (2,) * length) for length in sorted(LENGTHS[:16])]
    tokens = sum(example.length - 1 for example in examples)

    padded = sum(pack_batch(part, pad_id=0).input_ids.size for part in (examples[:8], examples[8:]))

    assert pack_batch(examples, pad_id=0, row_tokens=128).input_ids.size < 1.1 * tokens < 0.95 * padded
