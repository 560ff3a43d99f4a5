from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.training.memory import MemoryShape, fitting_micro_batch, halved, memory_advice, needed_bytes

SHAPE = MemoryShape(
    adapter_parameters=1_000,
    activation_bytes_per_token=10_000,
    layer_bytes_per_token=500,
    cache_bytes_per_token=100,
    vocabulary=1_000,
    longest=50,
    longest_labels=5,
    step_logits=2**20,
    look_tokens=1_000,
    look_pass_tokens=300,
    look_records=10,
)


def test_a_step_needs_activations_logits_and_the_optimizer() -> None:
    assert needed_bytes(SHAPE, 4) == 12 * 1_000 + 4 * 50 * 10_000 + 3 * 4 * 5 * 1_000 * 4


def test_a_look_counts_where_it_needs_more_than_a_step() -> None:
    shape = replace(SHAPE, look_tokens=100_000)

    assert needed_bytes(shape, 1) == 12 * 1_000 + 100_000 * 100 + 300 * 500 + 2 * 10 * 1_000 * 4


def test_logits_are_bounded_by_those_of_a_block() -> None:
    shape = replace(
        SHAPE,
        vocabulary=2**18,
        longest_labels=10_000,
        activation_bytes_per_token=0,
        look_tokens=0,
        look_pass_tokens=0,
        look_records=0,
    )

    assert needed_bytes(shape, 64) == 12 * 1_000 + 3 * 2**20 * 4


@pytest.mark.parametrize(
    ("free", "expected"),
    [(100 * 16, 8), (100 * 20, 16), (100 * 10, 8), (100 * 9, 4), (100, 1), (0, 1)],
)
def test_the_micro_batch_is_halved_until_it_surely_fits(free: int, expected: int) -> None:
    assert fitting_micro_batch(16, free_bytes=free, needed=lambda size: 100 * size) == expected


@pytest.mark.parametrize(("size", "expected"), [(16, 8), (7, 4), (3, 2), (2, 1), (1, 1)])
def test_half_a_micro_batch_is_never_none(size: int, expected: int) -> None:
    assert halved(size) == expected


def test_advice_names_only_what_would_help() -> None:
    def advice(needed: int, *, size: int = 4, recomputed: bool = False) -> str | None:
        return memory_advice(
            needed_bytes=needed * 2**20, free_bytes=100 * 2**20, micro_batch_size=size, recomputed=recomputed
        )

    assert advice(100) is None
    text = advice(150)
    assert text is not None and "150 MiB will be needed and 100 MiB are free" in text
    assert "micro_batch_size below 4" in text and "activation_checkpointing: true" in text
    assert "micro_batch_size" not in (advice(150, size=1) or "")
    assert "activation_checkpointing" not in (advice(150, recomputed=True) or "")
