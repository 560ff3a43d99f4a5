"""One forward pass of a causal language model without its traps: no logits that nobody reads, none row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tasks.models.loading import LoadedBase

_LOGITS_AT_ONCE = 2**26
"""Entries of the largest logits tensor: 256 MiB in fp32, 256 rows of a vocabulary of 262k."""
_VOCABULARY_BLOCK = 2**13
"""Tokens whose logits are summed at once: 8 MiB in fp32 for 256 rows."""


def forward_context(loaded: LoadedBase) -> AbstractContextManager[Any]:
    """Run the block in the precision of training: bf16 matrix products under autocast unless the base is fp32."""
    device_type = torch.device(loaded.device).type
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=loaded.precision != "fp32")


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[PreTrainedModel]:
    """Yield the causal language model inside `model` (a peft wrapper or the model itself), dropout and gradients off.

    The mode is put back afterwards, so that a validation look leaves training as it was.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield causal_model(model)
    finally:
        model.train(was_training)


def causal_model(model: torch.nn.Module) -> PreTrainedModel:
    """Return the causal language model inside a peft wrapper, adapter layers included, or the model itself."""
    unwrap = getattr(model, "get_base_model", None)
    return cast("PreTrainedModel", model if unwrap is None else unwrap())


@dataclass(frozen=True)
class LogitScaling:
    """What a model does to the products of its output layer, outside of that layer."""

    factor: float
    cap: float | None
    """Logits bend towards it: cap * tanh(logit / cap)."""

    def logits(self, products: torch.Tensor) -> torch.Tensor:
        """Return the logits of products, in fp32."""
        logits = products.float()
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def slope(self, logits: torch.Tensor) -> torch.Tensor | float:
        """Return how much a logit grows with its product: a number, or one for each logit."""
        return self.factor if self.cap is None else self.factor * (1.0 - (logits / self.cap).square())


def logit_scaling(model: PreTrainedModel) -> LogitScaling:
    """Read it from the config, where the families have different names for it."""
    config = model.config.get_text_config(decoder=True)
    factor = 1.0
    for name in ("logit_scale", "lm_head_multiplier"):
        factor *= getattr(config, name, None) or 1.0
    return LogitScaling(
        factor / (getattr(config, "logits_scaling", None) or 1.0), getattr(config, "final_logit_softcapping", None)
    )


def output_logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Return the logits, in fp32, of last hidden states.

    Args:
        model: from `causal_model`.
        hidden: [positions, width]. The output layer gets it contiguous and in two dimensions: on CPU a slice of a
            larger tensor runs as one product for each row, 40 times slower.

    Returns:
        [positions, vocabulary].
    """
    return logit_scaling(model).logits(model.get_output_embeddings()(hidden.contiguous()))


def in_chunks(model: PreTrainedModel, hidden: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the logits of [positions, width] hidden states part by part, within bounded memory.

    Yields:
        Which positions, and their [positions, vocabulary] logits in fp32.
    """
    for part in _parts(model, len(hidden)):
        yield part, output_logits(model, hidden[part])


def log_probabilities(model: PreTrainedModel, hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the [positions, wanted] log-probabilities of the `wanted` tokens after [positions, width] states.

    The products are read block by block: in fp32 those of a large vocabulary are far wider than a processor's cache,
    and to sum them as probabilities is to read them several times.
    """
    found = []
    scaling = logit_scaling(model)
    for part in _parts(model, len(hidden)):
        products = model.get_output_embeddings()(hidden[part].contiguous())
        totals = [scaling.logits(block).logsumexp(dim=-1) for block in products.split(_VOCABULARY_BLOCK, dim=-1)]
        found.append(scaling.logits(products[:, wanted]) - torch.stack(totals).logsumexp(dim=0)[:, None])
    return torch.cat(found)


def _parts(model: PreTrainedModel, positions: int) -> Iterator[slice]:
    size = max(1, _LOGITS_AT_ONCE // model.get_output_embeddings().weight.shape[0])
    return (slice(start, start + size) for start in range(0, positions, size))
