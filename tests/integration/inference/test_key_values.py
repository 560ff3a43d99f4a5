from __future__ import annotations

import torch

from tasks.inference.key_values import RoomyLayer, passing_cache


def states(tokens: int, *, rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 2, tokens, 4, generator=torch.Generator().manual_seed(seed))


def test_a_roomy_layer_holds_prefix_and_all_tokens_in_order_even_beyond_its_room() -> None:
    prefix = states(3, rows=1, seed=0)
    layer = RoomyLayer((prefix, -prefix), capacity=5)
    fed = [states(tokens, rows=2, seed=tokens) for tokens in (1, 2, 4)]

    for part in fed:
        keys, values = layer.update(part, -part)

    torch.testing.assert_close(keys, torch.cat([prefix.expand(2, -1, -1, -1), *fed], dim=2))
    torch.testing.assert_close(values, -keys)
    assert layer.get_seq_length() == 10


def test_a_roomy_layer_goes_on_with_the_rows_that_are_kept() -> None:
    layer = RoomyLayer(None, capacity=4)
    first, second = states(2, rows=3, seed=1), states(1, rows=2, seed=2)
    layer.update(first, -first)

    layer.keep_rows(torch.tensor([0, 2]))
    keys, _ = layer.update(second, -second)

    torch.testing.assert_close(keys, torch.cat([first[[0, 2]], second], dim=2))


def test_a_passing_cache_keeps_nothing_but_the_prefix() -> None:
    prefix = states(3, rows=1, seed=0)
    cache = passing_cache(1, [(prefix, prefix)])

    for seed in (1, 2):
        new = states(2, rows=4, seed=seed)
        keys, _ = cache.update(new, new, 0)
        torch.testing.assert_close(keys, torch.cat([prefix.expand(4, -1, -1, -1), new], dim=2))

    assert cache.get_seq_length() == 3
