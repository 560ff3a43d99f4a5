"""What makes two studies the same study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.schema import Search, Training
from tasks.storage.durable import digest_of

_BUDGETS = {
    "trials", "minutes", "max_cost", "patience", "worthwhile_gain", "min_gain_chance",
    "slots", "confirmation_seeds", "warm_start",
}  # fmt: skip


def study_identity(search: Search, training: Training, *, seed: int, inputs: Mapping[str, Any]) -> str:
    """Return the digest of everything that a trial's outcome depends on, budgets, slots and the beginning left out.

    So raising `trials` goes on with the same study, and another space, pruner or base model begins a new one.

    Args:
        search: the recipe's section.
        training: the recipe's section; fields outside the space are fixed by it.
        seed: the recipe's seed.
        inputs: digests of the snapshot and the base model, the template, the metric, the precision and so on, as
            JSON-serialisable values.
    """
    return digest_of(
        {
            "search": search.model_dump(mode="json", exclude=_BUDGETS),
            "training": training.model_dump(mode="json"),
            "seed": seed,
            "inputs": dict(inputs),
        }
    )
