"""Where a model's transformer layers stand, whatever its architecture calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from configs.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def transformer_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return the layers of the decoder by dotted name, from input to output.

    They are the outermost list of modules that is as long as the configuration says.

    Raises:
        BaseModelError: the model has no such list.
    """
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return {f"{name}.{number}": layer for number, layer in enumerate(module)}
    raise BaseModelError(
        f"the base model of type {model.config.model_type!r} has no list of its {count} transformer layers that is "
        "known here; leave training.layers at `all` and training.activation_checkpointing off"
    )


def last_layers(model: PreTrainedModel, count: int) -> list[str]:
    """Name the `count` layers nearest the output.

    Raises:
        BaseModelError: the model has fewer.
    """
    names = list(transformer_layers(model))
    if count > len(names):
        raise BaseModelError(
            f"training.layers is {count}, but the base model has {len(names)} transformer layers; "
            f"give `all`, or a number from 1 to {len(names)}"
        )
    return names[-count:]
