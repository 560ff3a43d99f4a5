"""What makes two training runs the same run: the key under which checkpoints are kept."""

from __future__ import annotations

from typing import Any

from configs.schema import Template, Training
from tasks.models.hardware import libraries_of
from tasks.tracking.identity import stage_identity

_LIBRARIES = ("torch", "transformers", "peft")


def training_key(
    training: Training,
    template: Template,
    *,
    snapshot: str,
    base_digest: str,
    precision: str,
    seed: int,
    labels: tuple[str, ...] | None,
    metric: Any,
    decoding: str,
    max_new_tokens: int,
) -> str:
    """Return the digest of everything that defines one fine-tune and which of its checkpoints is the best.

    The code counts too: a run goes on only with checkpoints that the same code and libraries wrote.

    Args:
        training: the resolved section; its `precision` and `template` are wishes, so what they led to is passed.
        template: the template in use.
        snapshot: digest of the snapshot.
        base_digest: digest of the base model.
        precision: of the base, as chosen for the hardware.
        seed: of the adapter's first weights, the order of the batches and the dropout.
        labels: the closed label set, or None.
        metric: what the validation looks measure, as `metric_identity` gives it.
        decoding: how the validation looks answer.
        max_new_tokens: longest answer in a validation look.
    """
    inputs = {
        "training": training.model_dump(mode="json", exclude={"precision", "template"}),
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
    return stage_identity(
        "fine-tune", inputs, rooms=["tasks.training"], libraries=(*_LIBRARIES, *libraries_of(precision))
    )
