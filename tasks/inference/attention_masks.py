"""Attention masks made from positions, so that padding and a shared prefix may stand anywhere in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import get_layer_types_and_kwargs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class MaskStyle:
    """How one model wants its masks."""

    layer_types: frozenset[str]
    """`full_attention`, `sliding_attention` or both."""
    sliding_window: int
    """Tokens that a sliding layer looks at, its own included; 0 without such layers."""
    additive: bool
    """Whether masks are numbers to be added (eager attention) instead of truth values (SDPA)."""
    dtype: torch.dtype
    """Of additive masks."""


def mask_style(model: PreTrainedModel) -> MaskStyle | None:
    """Return how `model` wants its masks; None if it takes none of ours (other attention, or none at all)."""
    config = model.config.get_text_config(decoder=True)
    implementation = config._attn_implementation
    layer_types = frozenset(get_layer_types_and_kwargs(config)[0])
    known = layer_types <= {_FULL, _SLIDING} and implementation in ("sdpa", "eager")
    if not known or not model._supports_attention_backend:
        return None
    return MaskStyle(
        layer_types=layer_types,
        sliding_window=config.sliding_window if _SLIDING in layer_types else 0,
        additive=implementation == "eager",
        dtype=model.dtype,
    )


def visible_keys(
    query_positions: torch.Tensor, key_positions: torch.Tensor, *, branches: torch.Tensor | None = None
) -> torch.Tensor:
    """Return which keys each query may see when attention is causal.

    Args:
        query_positions: [rows, queries], the newest of the keys; -1 marks padding.
        key_positions: [rows, keys]; -1 marks padding.
        branches: [rows or 1, queries, newest], which of the newest keys each query may see besides being causal,
            where a row is a tree instead of a line; None: all.

    Returns:
        [rows, queries, keys] of truth values. A query always sees itself: one that sees nothing would be not a number
        and, as a masked key, spoil the others.
    """
    keys = key_positions[:, None, :]
    visible = (keys >= 0) & (keys <= query_positions[:, :, None])
    if branches is not None:
        visible[:, :, -branches.shape[-1] :] &= branches
    queries = query_positions.shape[1]
    visible[:, :, -queries:] |= torch.eye(queries, dtype=torch.bool, device=visible.device)
    return visible


def attention_masks(
    style: MaskStyle, visible: torch.Tensor, *, query_positions: torch.Tensor, key_positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the `attention_mask` argument of the model: one mask, or one for each layer type where both occur."""
    masks: dict[str, Any] = {_FULL: visible}
    if _SLIDING in style.layer_types:
        distance = query_positions[:, :, None] - key_positions[:, None, :]
        masks[_SLIDING] = visible & (distance < style.sliding_window)
    ready = {kind: _finished(style, masks[kind]) for kind in style.layer_types}
    return ready if len(ready) > 1 else next(iter(ready.values()))


def _finished(style: MaskStyle, visible: torch.Tensor) -> torch.Tensor:
    mask = visible[:, None]
    if not style.additive:
        return mask
    lowest = torch.finfo(style.dtype).min
    return torch.zeros(mask.shape, dtype=style.dtype, device=mask.device).masked_fill_(~mask, lowest)
