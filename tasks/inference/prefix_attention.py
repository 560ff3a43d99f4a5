"""Attention of many rows over one shared prefix: its keys and values are read once for all rows and never copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AttentionInterface

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tasks.inference.key_values import KeysValues

_NAME = "burnish_shared_prefix"
_SCORES_AT_ONCE = 2**26
"""Entries of the largest tensor of attention scores: 256 MiB in fp32."""

_prefix: ContextVar[Sequence[KeysValues]] = ContextVar(_NAME)


@contextmanager
def prefix_attended(model: PreTrainedModel, prefix: Sequence[KeysValues]) -> Iterator[None]:
    """Let the model's layers see a prefix that their cache doesn't hold, before all else, for the block.

    The columns of the attention masks begin with the prefix. No other thread may run the model meanwhile.

    Args:
        model: its attention is SDPA.
        prefix: one [1, key/value heads, tokens, width] pair for each layer.
    """
    config = model.config.get_text_config(decoder=True)
    usual = config._attn_implementation
    token = _prefix.set(prefix)
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
        _prefix.reset(token)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' `sdpa_attention_forward` does, scores in the model's precision and softmax in fp32.

    Args:
        module: the layer.
        query: [rows, heads, queries, width].
        key: [rows, key/value heads, keys, width]: those after the prefix.
        value: [rows, key/value heads, keys, width of the values].
        attention_mask: [rows or 1, 1, queries, tokens of the prefix and keys], true where a query sees a key.
        scaling: of the scores; None: one over the square root of the width.

    Returns:
        [rows, queries, heads, width of the values], and None for the weights.
    """
    prefix_keys, prefix_values = (states[0] for states in _prefix.get()[cast("int", module.layer_idx)])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    mask = attention_mask.expand(len(query), -1, -1, -1)
    size = max(1, _SCORES_AT_ONCE // (query.shape[1] * query.shape[2] * mask.shape[-1]))
    parts = [
        _attend_rows(
            query[rows] * scale, key[rows], value[rows], mask[rows],
            prefix_keys=prefix_keys, prefix_values=prefix_values,
        )
        for rows in (slice(start, start + size) for start in range(0, len(query), size))
    ]  # fmt: skip
    return torch.cat(parts), None


def _attend_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    prefix_keys: torch.Tensor,
    prefix_values: torch.Tensor,
) -> torch.Tensor:
    rows, heads, queries, _ = query.shape
    groups = key.shape[1]
    by_group = query.reshape(rows, groups, -1, query.shape[-1])  # heads that share keys stand side by side
    scores = torch.cat(
        [_for_all_rows(by_group, prefix_keys.transpose(1, 2)), by_group @ key.transpose(2, 3)], dim=-1
    ).float()
    by_query = scores.view(rows, -1, queries, scores.shape[-1])
    weights = by_query.masked_fill_(~mask, -torch.inf).softmax(dim=-1).to(value.dtype).view(scores.shape)
    shared = prefix_keys.shape[1]
    states = _for_all_rows(weights[..., :shared], prefix_values) + weights[..., shared:] @ value
    return states.reshape(rows, heads, queries, -1).transpose(1, 2)


def _for_all_rows(states: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Multiply [rows, groups, queries, k] by [groups, k, n]: one product for each group, not one for each row too."""
    rows, groups, queries, _ = states.shape
    product = states.transpose(0, 1).reshape(groups, rows * queries, -1) @ shared
    return product.view(groups, rows, queries, -1).transpose(0, 1)


AttentionInterface.register(_NAME, _attend)
