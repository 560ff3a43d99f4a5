"""What makes two training runs the same run: the key under which checkpoints are kept."""

from __future__ import annotations

from configs.schema import Template, Training
from tasks.storage.durable import digest_of

_CHECKPOINT_FORMAT = 1
"""Raise it when a change of the engine or of the checkpoints makes older ones useless."""


def training_key(
    training: Training,
    template: Template,
    *,
    snapshot: str,
    base_digest: str,
    precision: str,
    seed: int,
    labels: tuple[str, ...] | None,
    metric: str,
    decoding: str,
    max_new_tokens: int,
) -> str:
    """Return the digest of everything that defines one fine-tune and which of its checkpoints is the best.

    Args:
        training: the resolved section; its `precision` and `template` are wishes, so what they led to is passed.
        template: the template in use.
        snapshot: digest of the snapshot.
        base_digest: digest of the base model.
        precision: `fp32` or `bf16`, as chosen for the hardware.
        seed: of the adapter's first weights, the order of the batches and the dropout.
        labels: the closed label set, or None.
        metric: what the validation looks measure.
        decoding: how the validation looks answer.
        max_new_tokens: longest answer in a validation look.
    """
    section = training.model_dump(mode="json", exclude={"precision", "template"})
    return digest_of(
        {
            "format": _CHECKPOINT_FORMAT,
            "training": section,
            "template": template.model_dump(mode="json"),
            "snapshot": snapshot,
            "base": base_digest,
            "precision": precision,
            "seed": seed,
            "labels": labels,
            "metric": metric,
            "decoding": decoding,
            "max_new_tokens": max_new_tokens,
        }
    )
