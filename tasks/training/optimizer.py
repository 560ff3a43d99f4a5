"""AdamW over the adapter's weights: gradients over micro-batches, clipping, one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from configs.schema import Training
from tasks.inference.forward import forward_context
from tasks.models.loading import LoadedBase
from tasks.training.batches import Example, micro_batches, pack_batch
from tasks.training.label_loss import label_loss


def make_optimizer(parameters: Sequence[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """AdamW with the recipe's weight decay; the learning rate is set at each step."""
    return torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)


def accumulate_gradients(
    loaded: LoadedBase,
    batch: Sequence[Example],
    *,
    micro_batch_size: int | None,
    pad_id: int,
    row_tokens: int = 0,
    label_smoothing: float = 0.0,
) -> float:
    """Add the gradients of a batch's mean loss to the adapter on the base, and return that loss, unsmoothed.

    The mean is over all labels of the whole batch, so micro-batches change the memory and not the result; nor does
    `row_tokens`, see `pack_batch`.
    """
    label_count = sum(example.label_count for example in batch)
    total = torch.zeros((), device=loaded.device)
    for examples in micro_batches(batch, micro_batch_size):
        with forward_context(loaded):
            packed = pack_batch(examples, pad_id=pad_id, row_tokens=row_tokens)
            total_loss = label_loss(loaded.model, packed, device=loaded.device, label_smoothing=label_smoothing)
            loss = total_loss / label_count
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total.item()


def clip_gradients(parameters: Sequence[nn.Parameter], max_gradient_norm: float) -> float:
    """Scale the gradients down to the norm where they exceed it; return their norm before."""
    return torch.nn.utils.clip_grad_norm_(parameters, max_gradient_norm).item()


def take_step(optimizer: torch.optim.AdamW, *, learning_rate: float) -> None:
    """Apply the gradients with this learning rate and clear them."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()
