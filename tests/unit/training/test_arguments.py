from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from configs.schema import Template, Training
from tasks.training.arguments import TrainArguments


def _arguments(**changes: Any) -> TrainArguments:
    values: dict[str, Any] = {
        "training": Training(lora_rank=4), "template": Template(), "snapshots": Path("/h/snapshots"),
        "snapshot": "a" * 64, "labels": ("x", "y"), "metric": "exact_match", "decoding": "label_scoring", "seed": 3,
        "checkpoints": Path("/h/checkpoints"), "training_key": "b" * 64, "adapters": Path("/h/adapters"),
        "max_new_tokens": 8, "token_budget": 1024,
    }  # fmt: skip
    return TrainArguments(**{**values, **changes})


def test_arguments_travel_as_json() -> None:
    arguments = _arguments()

    assert TrainArguments.model_validate(arguments.model_dump(mode="json")) == arguments


def test_checkpoints_stand_below_the_training_key() -> None:
    assert _arguments().checkpoint_directory == Path("/h/checkpoints") / ("b" * 64)


def test_a_key_that_is_no_digest_is_refused() -> None:
    with pytest.raises(ValidationError, match="training_key"):
        _arguments(training_key="../../elsewhere")


def test_label_scoring_without_labels_is_refused() -> None:
    with pytest.raises(ValidationError, match="label_scoring needs labels"):
        _arguments(labels=None)
