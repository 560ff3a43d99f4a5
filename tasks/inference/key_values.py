"""Key/value caches: one that grows without copying itself, and one that keeps nothing but a shared prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

KeysValues = tuple[torch.Tensor, torch.Tensor]
_MORE_ROOM = 32
"""Tokens that a row gets besides what it needs when it needs more than was planned: each row pays for them."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped to mypy
    """A cache layer with room for all tokens to come, so that a step writes one token instead of copying all."""

    def __init__(self, prefix: KeysValues | None, *, capacity: int) -> None:
        super().__init__()
        self._prefix = prefix
        self._capacity = capacity
        self._length = _length(prefix)
        self._room: list[torch.Tensor] = []

    @classmethod
    def joined(cls, layers: Sequence[RoomyLayer], *, prefix_length: int, capacity: int) -> RoomyLayer:
        """Put the rows of several layers below each other: the prefix first, and the newest tokens in one column.

        What is left open between them, where some rows are shorter, is zero.
        """
        whole = cls(None, capacity=capacity)
        whole._length = max(layer._length for layer in layers)
        whole.lazy_initialization(layers[0].keys, layers[0].values)
        for parts in zip(*((layer.keys, layer.values) for layer in layers), strict=True):
            tails = right_aligned([states[:, :, prefix_length:] for states in parts], dim=2, fill=0.0)
            room = tails.new_empty((*tails.shape[:2], capacity, tails.shape[3]))
            room[:, :, :prefix_length] = parts[0][:1, :, :prefix_length]
            room[:, :, prefix_length : whole._length] = tails
            whole._room.append(room)
        whole._show()
        return whole

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> KeysValues:
        """Append [rows, heads, tokens, width] states and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._make_room(key_states, value_states)
        start, self._length = self._length, self._length + key_states.shape[-2]
        if self._length > self._capacity:
            self._enlarge()
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start : self._length] = states
        self._show()
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens held, the prefix included."""
        return self._length

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Drop all other rows."""
        self._room = [room.index_select(0, rows) for room in self._room]
        self._show()

    def _show(self) -> None:
        self.keys, self.values = (room[:, :, : self._length] for room in self._room)

    def _enlarge(self) -> None:
        self._capacity = self._length + _MORE_ROOM
        for number, room in enumerate(self._room):
            larger = room.new_empty((*room.shape[:2], self._capacity, room.shape[-1]))
            larger[:, :, : room.shape[-2]] = room
            self._room[number] = larger

    def _make_room(self, *states: torch.Tensor) -> None:
        for number, state in enumerate(states):
            rows, heads, _, width = state.shape
            room = state.new_empty((rows, heads, self._capacity, width))
            if self._prefix is not None:
                room[:, :, : self._length] = self._prefix[number]
            self._room.append(room)


class PassingLayer(DynamicLayer):  # type: ignore[misc]  # as above
    """A cache layer that puts a shared prefix before the new states and forgets them: for a single pass."""

    def __init__(self, prefix: KeysValues | None) -> None:
        super().__init__()
        self._prefix = prefix

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> KeysValues:
        """Return the prefix and the new [rows, heads, tokens, width] states, keeping neither."""
        if self._prefix is None:
            return key_states, value_states
        rows = key_states.shape[0]
        keys, values = (
            torch.cat([before.expand(rows, -1, -1, -1), states], dim=-2)
            for before, states in zip(self._prefix, (key_states, value_states), strict=True)
        )
        return keys, values

    def get_seq_length(self) -> int:
        """Tokens of the prefix."""
        return _length(self._prefix)


def roomy_cache(layer_count: int, prefix: Sequence[KeysValues] | None, *, capacity: int) -> Cache:
    """Return a cache with room for `capacity` tokens in each row, beginning with the prefix's keys and values."""
    return Cache(
        layers=[RoomyLayer(prefix[index] if prefix else None, capacity=capacity) for index in range(layer_count)]
    )


def joined_cache(caches: Sequence[Cache], *, prefix_length: int, capacity: int) -> Cache:
    """Return one cache with the rows of several from `roomy_cache`, which are used up: layer after layer is let go."""
    return Cache(
        layers=[
            RoomyLayer.joined([cache.layers.pop(0) for cache in caches], prefix_length=prefix_length, capacity=capacity)
            for _ in range(len(caches[0].layers))
        ]
    )


def passing_cache(layer_count: int, prefix: Sequence[KeysValues] | None) -> Cache:
    """Return a cache for one pass over rows that begin with the prefix."""
    return Cache(layers=[PassingLayer(prefix[index] if prefix else None) for index in range(layer_count)])


def right_aligned(parts: Sequence[torch.Tensor], *, dim: int, fill: float) -> torch.Tensor:
    """Return tensors below each other, [rows, …], their last entries along `dim` in one column."""
    longest = max(part.shape[dim] for part in parts)
    shape = [sum(map(len, parts)), *parts[0].shape[1:]]
    shape[dim] = longest
    whole = parts[0].new_full(shape, fill)
    start = 0
    for part in parts:
        own = whole[start : start + len(part)]
        own.narrow(dim, longest - part.shape[dim], part.shape[dim]).copy_(part)
        start += len(part)
    return whole


def _length(prefix: KeysValues | None) -> int:
    return 0 if prefix is None else prefix[0].shape[-2]
