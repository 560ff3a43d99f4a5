"""Cross entropy and its gradient in the place of the logits: over a wide vocabulary nearly all the time is memory's."""

from __future__ import annotations

import torch


def loss_and_gradient(
    logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of the cross entropy, and its gradient, which is written over the logits.

    The gradient is softmax(logits) less the wanted distribution. `torch.nn.functional.cross_entropy` and its backward
    write four tensors of the logits' size on the way to it, this writes none on a CPU.

    Args:
        logits: [labels, vocabulary] in fp32, outside of any graph; on a CPU they are overwritten.
        targets: [labels], the tokens wanted.
        label_smoothing: share of each label that is spread evenly over the vocabulary, in the gradient alone: the loss
            stays the plain one (Szegedy et al. 2016, arXiv:1512.00567).
    """
    rows = torch.arange(len(targets), device=logits.device)
    wanted = logits[rows, targets]
    largest, places = logits.max(dim=-1)
    # its kernel on the CPU reads each row to its end before it writes it
    gradient = torch.softmax(logits, dim=-1, out=logits if logits.device.type == "cpu" else None)
    # the most probable token's log-probability can't underflow, as the wanted one's could
    loss = (largest - gradient[rows, places].log() - wanted).sum()
    if label_smoothing:
        gradient -= label_smoothing / logits.shape[-1]
    gradient[rows, targets] -= 1.0 - label_smoothing
    return loss, gradient
