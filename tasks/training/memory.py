"""How much memory a fine-tune will need at most, and the micro-batch that fits. Pure arithmetic.

    peak = standing + 12 bytes x adapter parameters + max(step, look)
    step = micro-batch x longest record x bytes per token + logits of one block
    look = tokens answered at once x key/value cache + tokens of a pass x one layer's activations + logits of one chunk

Standing is what the process holds with the base and the adapter in place. Gradients and AdamW's two moments take
12 bytes for each adapter parameter. Bytes per token are what autograd keeps for the way back: layers x widths x
precision, counted on a short pass (`tasks.training.activation_bytes`), since each architecture keeps something else;
with activation checkpointing the inputs of all layers and the activations of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_ADAMW_BYTES = 12
_FP32_BYTES = 4
_LOGITS_AT_ONCE = 2**26
"""In a look, as in `tasks.inference.forward`."""
_LOGITS_COPIES_IN_STEP = 3
"""Products, logits and what is multiplied with the output layer."""
_LOGITS_COPIES_IN_LOOK = 2
_SHARE_OF_FREE = 0.8
"""Predictions are good to a fifth."""


@dataclass(frozen=True)
class MemoryShape:
    """What the need for memory follows from, besides the micro-batch."""

    adapter_parameters: int
    activation_bytes_per_token: float
    """Kept for the way back, all layers."""
    layer_bytes_per_token: float
    """Kept for the way back in one layer."""
    cache_bytes_per_token: int
    """Keys and values of all layers."""
    vocabulary: int
    longest: int
    """Tokens of the longest training record."""
    longest_labels: int
    """Most labels of one record."""
    step_logits: int
    """Logits that the loss holds at once."""
    look_tokens: int
    """Most tokens that a validation look answers at once."""
    look_pass_tokens: int
    """Most of them that are run in one pass."""
    look_records: int


def needed_bytes(shape: MemoryShape, micro_batch_size: int) -> int:
    """Return what a fine-tune adds at most to what stands when it begins."""
    tokens, labels = micro_batch_size * shape.longest, micro_batch_size * shape.longest_labels
    step = tokens * shape.activation_bytes_per_token
    step += _LOGITS_COPIES_IN_STEP * _logits_bytes(shape, labels, at_once=shape.step_logits)
    look = shape.look_tokens * shape.cache_bytes_per_token + shape.look_pass_tokens * shape.layer_bytes_per_token
    look += _LOGITS_COPIES_IN_LOOK * _logits_bytes(shape, shape.look_records, at_once=_LOGITS_AT_ONCE)
    return int(_ADAMW_BYTES * shape.adapter_parameters + max(step, look))


def fitting_micro_batch(largest: int, *, free_bytes: int, needed: Callable[[int], int]) -> int:
    """Halve `largest` until what is needed is surely free; 1 at least."""
    size = largest
    while size > 1 and needed(size) > _SHARE_OF_FREE * free_bytes:
        size = halved(size)
    return size


def halved(micro_batch_size: int) -> int:
    """Return half of a micro-batch, rounded up; 1 stays 1."""
    return -(-micro_batch_size // 2)


def memory_advice(*, needed_bytes: int, free_bytes: int, micro_batch_size: int, recomputed: bool) -> str | None:
    """Say what to change when more is needed than is free, or None."""
    if needed_bytes <= free_bytes:
        return None
    changes = [] if micro_batch_size == 1 else [f"a training.micro_batch_size below {micro_batch_size}"]
    changes += [] if recomputed else ["training.activation_checkpointing: true"]
    changes += ["a smaller template.max_tokens, evaluation.batch_tokens or search.slots"]
    return (
        f"about {needed_bytes / 2**20:.0f} MiB will be needed and {free_bytes / 2**20:.0f} MiB are free for it, so the "
        f"system may end this fine-tune; it would help: {'; '.join(changes)}"
    )


def _logits_bytes(shape: MemoryShape, rows: int, *, at_once: int) -> int:
    return min(rows * shape.vocabulary, at_once) * _FP32_BYTES
