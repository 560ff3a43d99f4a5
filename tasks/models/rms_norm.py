"""RMSNorm in few steps on a CPU: the families write it as eight, most of which fill a tensor of their own.

Root mean square normalisation is Zhang and Sennrich 2019 (arXiv:1910.07467); a small model has more than a hundred.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import MethodType
from typing import Any, NamedTuple

import torch

_PROBE_ROWS = 8
_TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2**-7}
"""Relative: what is summed up in another order may be rounded to the next number."""


class Form(NamedTuple):
    """How a family writes it."""

    offset: float
    """What is added to the weight."""
    rounds_first: bool
    """Whether the weight alone is multiplied with what has the inputs' precision, instead of fp32."""


FORMS = (Form(0.0, rounds_first=True), Form(1.0, rounds_first=False), Form(0.0, rounds_first=False))
"""Of Llama and most others; of Gemma; of a few."""


def quicken_norms(model: torch.nn.Module) -> int:
    """Let each RMSNorm of a model do the same in fewer steps, forward and backward; return how many do.

    A module is known by its class's name and by what it answers; one that answers something else is left as it is.
    """
    quick = 0
    for module, epsilon in _rms_norms(model):
        form = next((form for form in FORMS if _answers_alike(module, epsilon, form)), None)
        if form is not None:
            module.forward = MethodType(_forward_of(epsilon, form), module)
            quick += 1
    return quick


def _rms_norms(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, float]]:
    for module in model.modules():
        epsilon = getattr(module, "eps", getattr(module, "variance_epsilon", None))
        weight = getattr(module, "weight", None)
        if type(module).__name__.endswith("RMSNorm") and isinstance(epsilon, float) and weight is not None:
            yield module, epsilon


def _forward_of(epsilon: float, form: Form) -> Any:
    def forward(module: torch.nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
        return _RmsNorm.apply(hidden_states, module.weight, epsilon, form)  # type: ignore[no-any-return, no-untyped-call]

    return forward


@torch.no_grad()
def _answers_alike(module: torch.nn.Module, epsilon: float, form: Form) -> bool:
    """Tell by trial, also for a weight in fp32, as one that is trained has, beside inputs in bf16."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    inputs = torch.randn((_PROBE_ROWS, weight.shape[-1]), generator=torch.Generator().manual_seed(0))
    inputs[0] *= 1e-3  # where epsilon shows
    pairs = [(module, inputs.to(weight.dtype)), (copy.deepcopy(module).float(), inputs.bfloat16())]
    for norm, probe in pairs:
        ours, theirs = _RmsNorm.apply(probe, norm.weight, epsilon, form), norm(probe)  # type: ignore[no-untyped-call]
        tolerance = _TOLERANCES.get(probe.dtype, 0.0)
        if ours.dtype != theirs.dtype or not torch.allclose(ours.float(), theirs.float(), rtol=tolerance, atol=0.0):
            return False
    return True


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x²) + epsilon) * (weight + offset), in fp32, over the last dimension."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, epsilon: float, form: Form) -> torch.Tensor:
        values = inputs.to(torch.float32, copy=True)
        lengths = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        scale = lengths.square_().div_(inputs.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(inputs, weight, scale)
        ctx.offset = form.offset
        normed = values.mul_(scale)
        if form.rounds_first:
            return normed.to(inputs.dtype) * weight
        return normed.mul_(weight.float() + form.offset).to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        inputs, weight, scale = ctx.saved_tensors
        wanted = gradients[0].float()
        normed = inputs.float() * scale
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (wanted * normed).flatten(0, -2).sum(dim=0).to(weight.dtype)
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None, None
        wanted = wanted * (weight.float() + ctx.offset)
        along = torch.linalg.vecdot(wanted, normed).div_(inputs.shape[-1])[..., None]
        of_inputs = wanted.sub_(normed.mul_(along)).mul_(scale)
        return of_inputs.to(inputs.dtype), of_weight, None, None
