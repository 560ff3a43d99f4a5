"""Attention of many rows over one shared prefix: its keys and values are read once for all rows and never copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AttentionInterface

from tasks.inference.key_values import KeysValues

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "burnish_shared_prefix"
_SCORES_AT_ONCE = 2**24
"""Entries of the largest tensor of attention scores: 64 MiB in fp32, of which a few stand side by side."""
_UNKNOWN_HERE = ("softcap", "position_bias", "s_aux")

_prefix: Sequence[KeysValues] = ()


@contextmanager
def prefix_attended(model: PreTrainedModel, prefix: Sequence[KeysValues]) -> Iterator[None]:
    """Let the model's layers see a prefix that their cache doesn't hold, before all else, for the block.

    The columns of the attention masks begin with the prefix. No other thread may run a model meanwhile.

    Args:
        model: its attention is SDPA over what its cache holds; `row_context.share_prefix` finds that out.
        prefix: one [1, key/value heads, tokens, width] pair for each layer.
    """
    global _prefix
    config = model.config.get_text_config(decoder=True)
    usual, config._attn_implementation = config._attn_implementation, _NAME
    _prefix = prefix
    try:
        yield
    finally:
        config._attn_implementation = usual
        _prefix = ()


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Return what transformers' `sdpa_attention_forward` does with the prefix before the keys, computed in fp32.

    Args:
        module: the layer.
        query: [rows, heads, queries, width].
        key: [rows, key/value heads, keys, width]: those after the prefix.
        value: [rows, key/value heads, keys, width of the values].
        attention_mask: [rows or 1, 1, queries, tokens of the prefix and keys], true where a query sees a key.
        scaling: of the scores; None: one over the square root of the width.
        others: what the architecture says besides.

    Returns:
        [rows, queries, heads, width of the values] in the precision of the values, and None for the weights.

    Raises:
        NotImplementedError: the architecture changes scores in a way that isn't known here.
    """
    if unknown := [name for name in _UNKNOWN_HERE if others.get(name) is not None]:
        raise NotImplementedError(f"attention over a shared prefix knows no {', '.join(unknown)}")
    prefix_keys, prefix_values = (states[0].float() for states in _prefix[cast("int", module.layer_idx)])
    query = query.float() * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    states = query.new_empty((*query.shape[:3], value.shape[-1]))
    mask = attention_mask.expand(len(query), -1, -1, -1)
    with torch.autocast(query.device.type, enabled=False):
        for rows, queries in _parts(query, keys=mask.shape[-1]):
            states[rows, :, queries] = _attend_part(
                query[rows, :, queries], key[rows].float(), value[rows].float(), mask[rows, :, queries],
                prefix_keys=prefix_keys, prefix_values=prefix_values,
            )  # fmt: skip
    return states.to(value.dtype).transpose(1, 2).contiguous(), None


def _parts(query: torch.Tensor, *, keys: int) -> Iterator[tuple[slice, slice]]:
    """Cut rows and queries into parts whose scores may be held at once; a single query's always are."""
    rows, heads, queries, _ = query.shape
    queries_at_once = min(queries, max(1, _SCORES_AT_ONCE // (heads * keys)))
    rows_at_once = max(1, _SCORES_AT_ONCE // (heads * keys * queries_at_once))
    for row in range(0, rows, rows_at_once):
        for first in range(0, queries, queries_at_once):
            yield slice(row, row + rows_at_once), slice(first, first + queries_at_once)


def _attend_part(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    prefix_keys: torch.Tensor,
    prefix_values: torch.Tensor,
) -> torch.Tensor:
    rows, heads, queries, width = query.shape
    by_group = query.reshape(rows, key.shape[1], -1, width)  # heads that share keys stand side by side
    scores = torch.cat([_for_all_rows(by_group, prefix_keys.transpose(1, 2)), by_group @ key.transpose(2, 3)], dim=-1)
    scores.view(rows, -1, queries, scores.shape[-1]).masked_fill_(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    shared = prefix_keys.shape[1]
    states = _for_all_rows(weights[..., :shared], prefix_values) + weights[..., shared:] @ value
    return states.reshape(rows, heads, queries, -1)


def _for_all_rows(states: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Multiply [rows, groups, queries, k] by [groups, k, n]: one product for each group, not one for each row too."""
    rows, groups, queries, _ = states.shape
    product = states.transpose(0, 1).reshape(groups, rows * queries, -1) @ shared
    return product.view(groups, rows, queries, -1).transpose(0, 1)


AttentionInterface.register(_NAME, _attend)
