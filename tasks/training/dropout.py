"""Dropout with random numbers of its own: a resumed run drops what an unbroken one would; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_STEPS = 2**16
"""Shares are rounded to this resolution: four decisions out of each random 64-bit word."""


class SeededDropout(nn.Module):
    """Drops a share of its inputs while in training mode, and scales the others so that the mean stays.

    torch's own draws one number at a time from the process's generator: a fifth of a small model's step on CPU.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        dropped = min(round(share * _STEPS), _STEPS - 1)
        self.generator = generator
        self._lowest_kept = dropped - _STEPS // 2
        self._scale = _STEPS / (_STEPS - dropped)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of `inputs`."""
        if not self.training:
            return inputs
        count = inputs.numel()
        words = torch.empty(count // 4 + 1, dtype=torch.int64, device=inputs.device)
        numbers = words.random_(-(2**63), None, generator=self.generator).view(torch.int16)
        kept = numbers[:count].view(inputs.shape) >= self._lowest_kept
        return inputs * (kept.to(inputs.dtype) * self._scale)


@contextmanager
def dropout_active(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Let every `SeededDropout` of `model` act for the block, from this seed on; other modules keep their mode.

    A DoRA layer passes its inputs through the dropout only while it is itself in training mode.
    """
    dropouts = [module for module in model.modules() if isinstance(module, SeededDropout)]
    layers = [module for module in model.modules() if getattr(module, "lora_magnitude_vector", None)]
    for generator in {dropout.generator for dropout in dropouts}:
        generator.manual_seed(seed)
    for module in [*dropouts, *layers]:
        module.training = True
    try:
        yield
    finally:
        for module in [*dropouts, *layers]:
            module.training = False
