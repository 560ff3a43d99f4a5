"""A batch of rows on its way through the model: what each row has been fed, and where its padding stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache, DynamicCache

from tasks.inference.attention_masks import MaskStyle, attention_masks, mask_style, visible_keys
from tasks.inference.batching import common_prefix_length, plan_parts
from tasks.inference.forward import evaluation_mode
from tasks.inference.key_values import (
    KeysValues,
    RoomyLayer,
    joined_cache,
    passing_cache,
    right_aligned,
    roomy_cache,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WORTH_SHARING = 8
"""Tokens below which a shared prefix costs more in an extra pass than it saves."""
_PART_PADDING = 64
"""Most tokens of padding in a pass on a CPU, which takes as long as one more pass does."""
_PART_TOKENS = 2**11
"""Of a pass on a CPU, unless one row has more. With more, it waits for the system to hand out the memory of what lies
between the layers."""


@dataclass(frozen=True)
class SharedPrefix:
    """Leading tokens of many prompts and their keys and values, run once."""

    token_ids: tuple[int, ...]
    keys_values: tuple[KeysValues, ...] | None
    """One [1, heads, tokens, width] pair for each layer; None: nothing is shared."""


NO_PREFIX = SharedPrefix((), None)


class RowContext:
    """Rows that are fed tokens one pass after another.

    Masks and positions are made here from positions, so padding may stand anywhere. A model that takes no masks of
    ours (`style` None) gets none, and its rows must have equal lengths.
    """

    def __init__(self, model: PreTrainedModel, style: MaskStyle | None, *, cache: Cache, prefix: SharedPrefix) -> None:
        self._model = model
        self._style = style
        self._cache = cache
        self._key_positions = torch.arange(len(prefix.token_ids), device=model.device)[None]

    @classmethod
    def growing(cls, model: PreTrainedModel, style: MaskStyle | None, *, prefix: SharedPrefix, room: int) -> RowContext:
        """Rows that will be fed about `room` tokens after the prefix, in several passes."""
        if style is None:
            cache: Cache = DynamicCache(config=model.config)
        else:
            capacity = len(prefix.token_ids) + room
            cache = roomy_cache(_layer_count(model), prefix.keys_values, capacity=capacity)
        return cls(model, style, cache=cache, prefix=prefix)

    @classmethod
    def single_pass(cls, model: PreTrainedModel, style: MaskStyle, *, prefix: SharedPrefix) -> RowContext:
        """Rows that will be fed once; nothing is kept of them."""
        return cls(model, style, cache=passing_cache(_layer_count(model), prefix.keys_values), prefix=prefix)

    @classmethod
    def joined(cls, parts: Sequence[RowContext], *, prefix: SharedPrefix, room: int) -> RowContext:
        """Rows of several from `growing`, with masks of ours, that will be fed on together; the parts are used up."""
        shared, first = len(prefix.token_ids), parts[0]
        cache = joined_cache([part._cache for part in parts], prefix_length=shared, capacity=shared + room)
        whole = cls(first._model, first._style, cache=cache, prefix=prefix)
        tails = right_aligned([part._key_positions[:, shared:] for part in parts], dim=1, fill=-1)
        whole._key_positions = torch.cat([whole._key_positions.expand(len(tails), -1), tails], dim=1)
        return whole

    @property
    def positions(self) -> torch.Tensor:
        """[rows, tokens] of all that the rows have been fed, the prefix included; -1 where nothing may look."""
        return self._key_positions

    def feed(
        self, token_ids: torch.Tensor, positions: torch.Tensor, *, branches: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run [rows, tokens] and return their [rows, tokens, width] last hidden states.

        Args:
            token_ids: the tokens.
            positions: of each token in its own row, counted from the prompt's first token; -1 marks padding.
            branches: as in `visible_keys`.
        """
        arguments: dict[str, object] = {}
        if self._style is not None:
            known = self._key_positions.expand(len(positions), -1)
            self._key_positions = torch.cat([known, positions], dim=1)
            visible = visible_keys(positions, self._key_positions, branches=branches)
            arguments["attention_mask"] = attention_masks(
                self._style, visible, query_positions=positions, key_positions=self._key_positions
            )
            arguments["position_ids"] = positions.clamp(min=0)
        output = self._model.base_model(
            input_ids=token_ids, past_key_values=self._cache, use_cache=True, **arguments
        )  # fmt: skip
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def hide_newest(self, counts: torch.Tensor) -> None:
        """Let nothing see so many of the tokens that each of the [rows] was fed last; not without masks of ours."""
        columns = torch.arange(self._key_positions.shape[1], device=counts.device)
        hidden = columns >= self._key_positions.shape[1] - counts[:, None]
        self._key_positions = self._key_positions.masked_fill(hidden, -1)

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Drop all other rows."""
        self._key_positions = self._key_positions[rows]
        if self._style is None:
            self._cache.reorder_cache(rows)
            return
        for layer in self._cache.layers:
            assert isinstance(layer, RoomyLayer)
            layer.keep_rows(rows)

    def keys_values(self) -> tuple[KeysValues, ...]:
        """Return what the rows' tokens left in each layer, as [rows, heads, tokens, width] pairs."""
        return tuple((layer.keys, layer.values) for layer in self._cache.layers)


def share_prefix(model: torch.nn.Module, prompts: Sequence[Sequence[int]]) -> SharedPrefix:
    """Run the tokens that all prompts begin with once; `NO_PREFIX` where that isn't worth it or not possible."""
    length = common_prefix_length(prompts) if len(prompts) > 1 else 0
    with evaluation_mode(model) as causal:
        style = mask_style(causal)
        if length < _WORTH_SHARING or style is None:
            return NO_PREFIX
        token_ids = tuple(prompts[0][:length])
        context = RowContext.growing(causal, style, prefix=NO_PREFIX, room=length)
        tokens, positions = left_padded([token_ids], pad_id=0, first_position=0, device=causal.device)
        context.feed(tokens, positions)
        return SharedPrefix(token_ids, context.keys_values())


def run_prompts(
    model: PreTrainedModel,
    style: MaskStyle | None,
    tails: Sequence[Sequence[int]],
    *,
    prefix: SharedPrefix,
    pad_id: int,
    room: int,
) -> tuple[RowContext, torch.Tensor, torch.Tensor]:
    """Start a batch of rows: run what each prompt has after the prefix.

    Args:
        model: from `causal_model`.
        style: from `mask_style`.
        tails: from `own_tokens`, of the prompts in this batch.
        prefix: what stands before each of them.
        pad_id: token that stands for padding.
        room: tokens that a row will be fed after the prefix, its tail included; more makes it move its cache.

    Returns:
        The rows, and of their tails, padded on the left, the [rows, longest, width] hidden states and the
        [rows, longest] positions.
    """
    first_position = len(prefix.token_ids)
    parts = [slice(len(tails))]
    if style is not None and model.device.type == "cpu":
        parts = plan_parts([len(tail) for tail in tails], padding=_PART_PADDING, tokens=_PART_TOKENS)
    if len(parts) == 1:
        tokens, positions = left_padded(tails, pad_id=pad_id, first_position=first_position, device=model.device)
        context = RowContext.growing(model, style, prefix=prefix, room=room)
        return context, context.feed(tokens, positions), positions
    contexts, states = [], []
    for part in parts:
        tokens, positions = left_padded(tails[part], pad_id=pad_id, first_position=first_position, device=model.device)
        contexts.append(RowContext.growing(model, style, prefix=prefix, room=tokens.shape[1]))
        states.append(contexts[-1].feed(tokens, positions))
    context = RowContext.joined(contexts, prefix=prefix, room=room)
    return context, right_aligned(states, dim=1, fill=0.0), context.positions[:, first_position:]


def most_tokens_of_a_pass(model: PreTrainedModel, lengths: Sequence[int]) -> int:
    """Return how many tokens `run_prompts` runs at once, at most, of rows of these lengths in one batch."""
    if mask_style(model) is None or model.device.type != "cpu":
        return sum(lengths)
    return min(sum(lengths), max([_PART_TOKENS, *lengths]))


def own_tokens(prompts: Sequence[Sequence[int]], prefix: SharedPrefix) -> list[Sequence[int]]:
    """Return what each prompt has after the prefix.

    Raises:
        ValueError: a prompt does not begin with the prefix, or has nothing after it.
    """
    shared = len(prefix.token_ids)
    for number, prompt in enumerate(prompts):
        if len(prompt) <= shared or tuple(prompt[:shared]) != prefix.token_ids:
            raise ValueError(f"prompt {number} has {len(prompt)} tokens and does not continue the {shared} shared ones")
    return [prompt[shared:] for prompt in prompts]


def left_padded(
    rows: Sequence[Sequence[int]], *, pad_id: int, first_position: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [rows, longest] token ids and positions of rows of different lengths, padded on the left.

    Args:
        rows: tokens of each row.
        pad_id: token that stands for padding; its position is -1.
        first_position: position of each row's first token.
        device: where the tensors go.
    """
    longest = max(len(row) for row in rows)
    tokens = [[pad_id] * (longest - len(row)) + list(row) for row in rows]
    positions = [
        [-1] * (longest - len(row)) + list(range(first_position, first_position + len(row))) for row in rows
    ]  # fmt: skip
    return torch.tensor(tokens, device=device), torch.tensor(positions, device=device)


def _layer_count(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config(decoder=True).num_hidden_layers)
