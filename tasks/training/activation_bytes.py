"""What autograd keeps of one short pass through the adapted model: the measured part of the memory prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from configs.schema import Training
from tasks.inference.forward import forward_context
from tasks.inference.row_context import most_tokens_of_a_pass
from tasks.models.loading import LoadedBase
from tasks.training.activation_checkpointing import activations_recomputed
from tasks.training.adapters import trainable_parameters
from tasks.training.batches import Example
from tasks.training.dropout import dropout_active
from tasks.training.label_loss import logits_held
from tasks.training.memory import MemoryShape

if TYPE_CHECKING:
    from peft import PeftModel

_SHORT_PASS = 32
"""Tokens: enough that what doesn't grow with them is little."""


def memory_shape(
    loaded: LoadedBase,
    adapted: PeftModel,
    *,
    training: Training,
    examples: Sequence[Example],
    look_lengths: Sequence[int],
    token_budget: int,
) -> MemoryShape:
    """Return what the need for memory follows from.

    Args:
        loaded: the base.
        adapted: the adapter on it.
        training: the resolved section.
        examples: the training records.
        look_lengths: tokens of each record of a validation look, its answer included.
        token_budget: most tokens that a look answers at once.
    """
    config = loaded.model.config.get_text_config(decoder=True)
    layers = config.num_hidden_layers if training.layers == "all" else training.layers
    whole = _kept_bytes_per_token(loaded, adapted, recomputed=False)
    kept = whole
    if training.activation_checkpointing:
        kept = _kept_bytes_per_token(loaded, adapted, recomputed=True) + whole / layers
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return MemoryShape(
        adapter_parameters=sum(parameter.numel() for parameter in trainable_parameters(adapted)),
        activation_bytes_per_token=kept,
        layer_bytes_per_token=whole / layers,
        cache_bytes_per_token=2 * config.num_hidden_layers * heads * head_width * _element_bytes(loaded),
        vocabulary=loaded.model.get_output_embeddings().weight.shape[0],
        longest=max(example.length for example in examples),
        longest_labels=max(example.label_count for example in examples),
        step_logits=logits_held(loaded.device),
        look_tokens=min(token_budget, sum(look_lengths)),
        look_pass_tokens=min(token_budget, most_tokens_of_a_pass(loaded.model, look_lengths)),
        look_records=len(look_lengths),
    )


def _kept_bytes_per_token(loaded: LoadedBase, adapted: PeftModel, *, recomputed: bool) -> float:
    """Count each storage once, whatever it is a view of, and no weight."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in adapted.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no other tensor gets this address
        return tensor

    ids = torch.zeros((1, _SHORT_PASS), dtype=torch.long, device=loaded.device)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        dropout_active(adapted, seed=0),
        activations_recomputed(loaded.model, enabled=recomputed),
        forward_context(loaded),
    ):
        loaded.model.get_decoder()(input_ids=ids, use_cache=False)
    return sum(storage.nbytes() for storage in kept.values()) / _SHORT_PASS


def _element_bytes(loaded: LoadedBase) -> int:
    return 4 if loaded.precision == "fp32" else 2
