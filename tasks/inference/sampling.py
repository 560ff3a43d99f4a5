"""Answers drawn by chance, the same ones whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


class Sampler:
    """Draws each next token with the model's probability at a temperature."""

    def __init__(self, *, temperature: float, seed: int) -> None:
        """Prepare to draw.

        Args:
            temperature: divides the logits; above 0.
            seed: with the number of the prompt and the place in its answer, it makes each draw.
        """
        self._temperature, self._seed = temperature, seed

    def other(self) -> Sampler:
        """One whose draws have nothing to do with those of this one, for the first step of a chain."""
        return Sampler(temperature=self._temperature, seed=self._seed + 1)

    def __call__(self, numbers: Sequence[int], places: Sequence[int], logits: torch.Tensor) -> list[int]:
        """Draw the next token of each prompt by adding Gumbel noise to its logits (Gumbel 1954; Maddison et al. 2014).

        Args:
            numbers: of the prompts.
            places: how many tokens each has been answered with.
            logits: [prompts, vocabulary], in fp32.
        """
        return [
            int((row / self._temperature + self._noise(number, place, like=row)).argmax())
            for number, place, row in zip(numbers, places, logits, strict=True)
        ]

    def _noise(self, number: int, place: int, *, like: torch.Tensor) -> torch.Tensor:
        seed = int(np.random.SeedSequence([self._seed, number, place]).generate_state(1, np.uint64)[0])
        generator = torch.Generator(like.device).manual_seed(seed)
        return -torch.empty_like(like).exponential_(generator=generator).log()
