"""Whether records may share a row: no padding then, where the model keeps them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from configs.schema import Training
from tasks.inference.forward import forward_context
from tasks.models.loading import LoadedBase
from tasks.training.batches import Example, pack_batch
from tasks.training.label_loss import hidden_at_labels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROW_TOKENS = 128
"""Enough for a few short records; attention looks at all pairs of a row's tokens, so a wide row costs more."""
_TOLERANCE = 0.05
"""Of the largest hidden state: above rounding in bf16, far below what a record sees of another one."""


def row_tokens(loaded: LoadedBase, training: Training, examples: Sequence[Example], *, pad_id: int) -> int:
    """Return the width of rows that records share, for `pack_batch`; 0 where each needs a row of its own.

    That is so with NEFTune, whose noise is laid over one record a row, for records too long to share one, and for
    models that don't begin anew where positions do: those that keep a state, or have no use for positions.
    """
    lengths = sorted(example.length - 1 for example in examples)
    if training.neftune_alpha > 0 or sum(lengths[:2]) > max(_ROW_TOKENS, lengths[-1]):
        return 0
    with forward_context(loaded), torch.no_grad():
        apart = keeps_records_apart(loaded.model, examples[:2], pad_id=pad_id, device=loaded.device)
    return _ROW_TOKENS if apart else 0


def keeps_records_apart(model: PreTrainedModel, examples: Sequence[Example], *, pad_id: int, device: str) -> bool:
    """Tell by trial whether the hidden states of examples that share a row are those of each one alone."""
    width = sum(example.length for example in examples)
    packed = pack_batch(examples, pad_id=pad_id, row_tokens=width)
    try:
        together = hidden_at_labels(model, packed, device=device).float()
    except TypeError:  # a model that takes no positions
        return False
    alone = hidden_at_labels(model, pack_batch(examples, pad_id=pad_id), device=device).float()
    return bool((together - alone).abs().max() <= _TOLERANCE * alone.abs().max())
