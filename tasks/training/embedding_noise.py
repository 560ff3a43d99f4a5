"""NEFTune: noise on the input embeddings while training (Jain et al. 2023, arXiv:2310.05914).

The noise of a record is uniform in [-1, 1], scaled by alpha / sqrt(length x width). Each record draws from a seed of
its own, made of the step's seed and its place in the batch: a resumed run adds what an unbroken one adds, and so does
one with other micro-batches. Length is that of the record itself; the paper pads to one length, and takes that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def embedding_noise(model: PreTrainedModel, *, alpha: float, lengths: Sequence[int], seed: int) -> Iterator[None]:
    """Add noise to the input embeddings for the block, during which the batch's records pass once, in order.

    Args:
        model: the base, with its adapter.
        alpha: strength of the noise; 0 adds none.
        lengths: tokens of each record of the batch.
        seed: of this step.
    """
    if alpha == 0:
        yield
        return
    noise = _Noise(alpha, lengths, seed)
    handle = model.get_input_embeddings().register_forward_hook(noise)
    try:
        yield
    finally:
        handle.remove()


class _Noise:
    def __init__(self, alpha: float, lengths: Sequence[int], seed: int) -> None:
        self._alpha, self._lengths, self._seed = alpha, lengths, seed
        self._passed = 0

    def __call__(self, module: Any, arguments: Any, embedded: torch.Tensor) -> torch.Tensor:
        """Return the [records, longest, width] embeddings with noise on them."""
        records, longest, width = embedded.shape
        rows = [self._row(self._passed + row, longest, width) for row in range(records)]
        self._passed += records
        return embedded + torch.from_numpy(np.stack(rows)).to(embedded.device, embedded.dtype)

    def _row(self, place: int, longest: int, width: int) -> Any:
        length = min(self._lengths[place], longest)
        noise = np.zeros((longest, width), dtype=np.float32)
        generator = np.random.default_rng([self._seed, place])
        noise[:length] = generator.uniform(-1.0, 1.0, (length, width)) * (self._alpha / np.sqrt(length * width))
        return noise
