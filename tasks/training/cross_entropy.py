"""Cross entropy of a frozen output layer and its gradient in one sweep over the vocabulary, without the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import linear

from tasks.inference.forward import LogitScaling

_LEAST_BLOCK = 1024
"""Tokens of the vocabulary; products with fewer leave the processor idle."""


@dataclass(frozen=True)
class OutputLayer:
    """What turns hidden states into logits; nothing of it is trained."""

    weight: torch.Tensor
    """[vocabulary, width]"""
    bias: torch.Tensor | None
    """[vocabulary]"""
    scaling: LogitScaling

    def block(self, hidden: torch.Tensor, tokens: slice) -> torch.Tensor:
        """Return the [labels, tokens] logits of some tokens, in fp32."""
        bias = None if self.bias is None else self.bias[tokens]
        return self.scaling.logits(linear(hidden, self.weight[tokens], bias))


def loss_and_gradient(
    hidden: torch.Tensor, targets: torch.Tensor, *, layer: OutputLayer, entries: int, label_smoothing: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of the cross entropy, and its gradient for the hidden states.

    The softmax is summed up block by block and set right whenever a larger logit comes, and so is its product with the
    output layer, which is the gradient (as attention is in Dao et al. 2022, arXiv:2205.14135; for the loss see Wijmans
    et al. 2024, arXiv:2411.09009). A block's logits stay in the processor's cache and the others are never written.

    The wanted token stays out of that product: where it is nearly certain, rounding to bf16 beside it would lose all
    others, and what is left when it is taken off again is the gradient.

    Args:
        hidden: [labels, width], outside of any graph.
        targets: [labels], the tokens wanted.
        layer: the output layer.
        entries: logits that are held at once, as long as a block of the vocabulary is not too small.
        label_smoothing: share of each label that is spread evenly over the vocabulary, in the gradient alone: the loss
            stays the plain one (Szegedy et al. 2016, arXiv:1512.00567).

    Returns:
        A number in fp32, and [labels, width] like `hidden`.
    """
    weight = layer.weight
    states = hidden.to(weight.dtype)
    largest = torch.full((len(hidden),), -torch.inf, device=hidden.device)
    others, wanted = torch.zeros_like(largest), torch.zeros_like(largest)
    others_side = torch.zeros(hidden.shape, device=hidden.device)
    even_side = torch.zeros_like(others_side)
    size = max(_LEAST_BLOCK, entries // max(1, len(hidden)))
    for start in range(0, len(weight), size):
        tokens = slice(start, start + size)
        logits = layer.block(states, tokens)
        slope = layer.scaling.slope(logits)
        here = torch.nonzero((targets >= start) & (targets < start + size))[:, 0]
        wanted[here] = logits[here, targets[here] - start]
        before, largest = largest, torch.maximum(largest, logits.amax(dim=-1))
        weights = logits.sub_(largest[:, None]).exp_()
        weights[here, targets[here] - start] = 0.0
        shrink = torch.exp(before - largest)
        others.mul_(shrink).add_(weights.sum(dim=-1))
        others_side.mul_(shrink[:, None]).add_(_product(weights.mul_(slope), weight[tokens]))
        if label_smoothing:
            even_side += _product(torch.ones_like(weights).mul_(slope), weight[tokens])
    total = others + torch.exp(wanted - largest)
    loss = (largest + total.log() - wanted).sum()
    target_side = weight[targets].float() * layer.scaling.slope(wanted[:, None])
    gradient = others_side / total[:, None] + (label_smoothing - others / total)[:, None] * target_side
    if label_smoothing:
        gradient -= even_side * (label_smoothing / len(weight))
    return loss, gradient.to(hidden.dtype)


def _product(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return weights.to(rows.dtype) @ rows
