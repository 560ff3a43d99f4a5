"""Activation checkpointing: keep the input of each transformer layer, and compute the layer again on the way back.

transformers' own switch acts only on a model in training mode, which would also wake the base's own dropout; ours stays
in evaluation mode, so the layers' `forward` is wrapped here, for the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from tasks.training.dropout import SeededDropout
from tasks.training.transformer_layers import transformer_layers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@contextmanager
def activations_recomputed(model: PreTrainedModel, *, enabled: bool) -> Iterator[None]:
    """Checkpoint every transformer layer of `model` for the block, if enabled; the gradients stay the same."""
    with ExitStack() as stack:
        if enabled:
            generators = {module.generator for module in model.modules() if isinstance(module, SeededDropout)}
            for layer in transformer_layers(model).values():
                stack.enter_context(_recomputed(layer, generators))
        yield


@contextmanager
def _recomputed(layer: nn.Module, generators: set[torch.Generator]) -> Iterator[None]:
    forward, patched_before = layer.forward, "forward" in layer.__dict__

    def checkpointed(*arguments: Any, **keywords: Any) -> Any:
        return checkpoint(
            forward,
            *arguments,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=partial(_same_dropout_twice, generators),
            **keywords,
        )

    layer.forward = checkpointed
    try:
        yield
    finally:
        if patched_before:
            layer.forward = forward
        else:
            del layer.forward  # the class's own is back


def _same_dropout_twice(
    generators: set[torch.Generator],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first pass through a layer and of the second, which must drop what the first one dropped."""
    states: dict[torch.Generator, torch.Tensor] = {}

    @contextmanager
    def first() -> Iterator[None]:
        states.update({generator: generator.get_state() for generator in generators})
        yield

    @contextmanager
    def second() -> Iterator[None]:
        now = {generator: generator.get_state() for generator in generators}
        for generator, state in states.items():
            generator.set_state(state)
        try:
            yield
        finally:
            for generator, state in now.items():
                generator.set_state(state)

    return first(), second()
