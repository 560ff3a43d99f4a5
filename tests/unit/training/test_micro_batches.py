from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs.schema import Training
from tasks.training.batches import Example
from tasks.training.micro_batches import (
    MicroBatch,
    choose_micro_batch,
    longest_examples,
    most_records,
    remember_micro_batch,
    remembered_micro_batch,
)


def _chosen(
    training: Training | None = None, *, runs_up_to: int = 1000, **settings: Any
) -> tuple[MicroBatch, list[int]]:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > runs_up_to:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    known: dict[str, Any] = {
        "begun": None, "limit": None, "known": None, "most": 16, "free_bytes": 10_000, **settings,
    }  # fmt: skip
    chosen = choose_micro_batch(
        training or Training(batch_size=16), needed=lambda size: 100 * size, attempt=attempt, **known
    )
    return chosen, tried


def test_with_memory_to_spare_the_whole_batch_runs_at_once_without_a_trial() -> None:
    assert _chosen() == (MicroBatch(16, remember=False), [])


def test_what_the_recipe_asks_for_is_taken() -> None:
    assert _chosen(Training(micro_batch_size=4), free_bytes=0) == (MicroBatch(4, remember=False), [])
    assert _chosen(Training(micro_batch_size=16), most=8)[0].size == 16


@pytest.mark.parametrize(("known", "size"), [(None, 8), (16, 8), (2, 2)])
def test_a_pass_holds_no_more_records_than_it_may(known: int | None, size: int) -> None:
    assert _chosen(most=8, known=known)[0].size == size


@pytest.mark.parametrize(
    ("batch_size", "device", "padded", "most"),
    [(64, "cuda:0", True, 64), (64, "cpu", False, 16), (64, "cpu", True, 8), (4, "cpu", False, 4), (4, "cpu", True, 4)],
)
def test_a_cpu_runs_few_records_at_once(batch_size: int, device: str, padded: bool, most: int) -> None:
    assert most_records(Training(batch_size=batch_size), device=device, padded=padded) == most


def test_a_run_goes_on_with_the_micro_batch_it_began_with() -> None:
    assert _chosen(begun=2, known=16)[0].size == 2
    assert _chosen(begun=16, known=2, free_bytes=0)[0].size == 16


@pytest.mark.parametrize("settings", [{}, {"begun": 8}, {"known": 16}])
def test_after_an_out_of_memory_its_limit_stands_and_is_remembered(settings: dict[str, Any]) -> None:
    assert _chosen(limit=4, **settings)[0] == MicroBatch(4, remember=True)


def test_a_limit_also_stands_above_what_the_recipe_asks_for() -> None:
    assert _chosen(Training(micro_batch_size=8), limit=4)[0].size == 4


def test_in_doubt_it_is_found_by_trial_and_remembered() -> None:
    chosen, tried = _chosen(free_bytes=2_000, runs_up_to=5)

    assert (chosen, tried) == (MicroBatch(4, remember=True), [16, 8, 4])


def test_what_fitted_before_is_not_tried_again() -> None:
    assert _chosen(known=8, free_bytes=1_000) == (MicroBatch(8, remember=False), [])


def test_what_fitted_before_is_made_smaller_where_less_is_free() -> None:
    assert _chosen(known=8, free_bytes=500)[0].size == 4


def test_an_error_that_is_not_of_memory_is_not_hidden() -> None:
    def attempt(size: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        choose_micro_batch(
            Training(), begun=None, limit=None, known=None, most=16, free_bytes=1, needed=lambda size: size,
            attempt=attempt,
        )  # fmt: skip


def test_a_single_record_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="can't allocate"):
        _chosen(free_bytes=2_000, runs_up_to=0)


def test_what_fitted_is_remembered(tmp_path: Path) -> None:
    assert remembered_micro_batch(tmp_path / "sizes", "a") is None

    remember_micro_batch(tmp_path / "sizes", "a", 4)

    assert remembered_micro_batch(tmp_path / "sizes", "a") == 4
    assert remembered_micro_batch(tmp_path / "sizes", "b") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"micro_batch_size": 0}', '{"micro_batch_size": "8"}'])
def test_a_damaged_memory_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)

    assert remembered_micro_batch(tmp_path, "a") is None


def test_a_trial_takes_the_longest_records() -> None:
    examples = [Example((1,) * length, (2,)) for length in (3, 9, 5)]

    assert [example.length for example in longest_examples(examples, 2)] == [10, 6]
