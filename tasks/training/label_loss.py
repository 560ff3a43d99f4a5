"""Cross entropy where there is a label, and nowhere else: the output layer is most of a small model's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from configs.errors import BaseModelError
from tasks.inference.forward import logit_scaling
from tasks.training.batches import Example, PackedBatch, pack_batch
from tasks.training.cross_entropy import OutputLayer, loss_and_gradient

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LABELS_AT_ONCE = 1024
"""In one sweep over the vocabulary: more would make its blocks too narrow for fast products."""
_LOGITS_TOLERANCE = 0.02
"""Of the largest logit: far above rounding in bf16, far below any scaling that an architecture may apply."""


def label_loss(
    model: PreTrainedModel, batch: PackedBatch, *, device: str, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the *sum* of the cross entropy over a batch's labels, in fp32.

    With `label_smoothing` the gradients are those of the smoothed loss (that share of each label spread evenly over
    the vocabulary; Szegedy et al. 2016, arXiv:1512.00567); the value stays the plain one, so that curves can be
    compared and a divergence is told alike.

    Hidden states are picked at the label positions as one contiguous [labels, width] tensor; the output layer and
    the loss then run in blocks whose logits are gone at once, so memory doesn't grow with the number of labels.
    """
    hidden = hidden_at_labels(model, batch, device=device)
    targets = torch.from_numpy(batch.targets).to(device)
    layer = output_layer(model)
    return _FrozenLayerLoss.apply(hidden, targets, layer, label_smoothing)  # type: ignore[no-any-return, no-untyped-call]


def output_layer(model: PreTrainedModel) -> OutputLayer:
    """Return the matrix that makes logits of hidden states.

    Raises:
        BaseModelError: it is no plain matrix.
    """
    module = model.get_output_embeddings()
    weight = getattr(module, "weight", None)
    if not isinstance(module, nn.Linear) or weight is None or not weight.is_floating_point():
        raise BaseModelError(
            f"the output layer of the base model of type {model.config.model_type!r} is a {type(module).__name__}, and "
            "training wants a plain linear one; choose another base model"
        )
    return OutputLayer(weight.detach(), None if module.bias is None else module.bias.detach(), logit_scaling(model))


def logits_held(device: str) -> int:
    """Return how many logits the loss holds at once: on a CPU those that fit into its cache, 8 MB in fp32."""
    return 2**21 if device == "cpu" else 2**24


@torch.no_grad()
def check_label_logits(model: PreTrainedModel, example: Example, *, pad_id: int, device: str) -> None:
    """Compare the logits of the training path with the model's own on one example.

    Raises:
        BaseModelError: they are not finite, or differ: the architecture does something to them that isn't known here;
            or the output layer is no plain matrix.
    """
    layer = output_layer(model)
    batch = pack_batch([example], pad_id=pad_id)
    ours = layer.block(hidden_at_labels(model, batch, device=device).to(layer.weight.dtype), slice(None))
    own = model(input_ids=torch.from_numpy(batch.input_ids).to(device), use_cache=False).logits.float()
    own = own[batch.rows, batch.columns]
    if not own.isfinite().all():
        raise BaseModelError(
            f"the base model of type {model.config.model_type!r} answers with logits that are not finite; its weights "
            "are damaged, or training.precision needs to be fp32"
        )
    difference, largest = (ours - own).abs().max().item(), own.abs().max().item()
    if difference > _LOGITS_TOLERANCE * max(largest, 1.0):
        raise BaseModelError(
            f"the base model of type {model.config.model_type!r} transforms its logits in a way that training doesn't "
            f"know (difference {difference:.3g} at logits up to {largest:.3g}); choose another base model"
        )


def hidden_at_labels(model: PreTrainedModel, batch: PackedBatch, *, device: str) -> torch.Tensor:
    """Return the [labels, width] last hidden states from which the labels are predicted."""
    inputs = {"input_ids": torch.from_numpy(batch.input_ids).to(device)}
    if batch.position_ids is not None:
        inputs["position_ids"] = torch.from_numpy(batch.position_ids).to(device)
    hidden = model.get_decoder()(**inputs, use_cache=False).last_hidden_state
    rows, columns = (torch.from_numpy(values).to(device) for values in (batch.rows, batch.columns))
    return hidden[rows, columns]  # type: ignore[no-any-return]


class _FrozenLayerLoss(torch.autograd.Function):
    """Sum of the cross entropy, whose gradient for the hidden states is made on the way forward.

    The output layer is frozen, so that gradient is all that backward needs.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, layer: OutputLayer, label_smoothing: float
    ) -> torch.Tensor:
        total = torch.zeros((), device=hidden.device)
        gradients: list[torch.Tensor] = []
        entries = logits_held(hidden.device.type)
        for start in range(0, len(hidden), _LABELS_AT_ONCE):
            part = slice(start, start + _LABELS_AT_ONCE)
            loss, gradient = loss_and_gradient(
                hidden[part].detach(), targets[part], layer=layer, entries=entries, label_smoothing=label_smoothing
            )
            total += loss
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None
