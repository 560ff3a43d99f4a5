from __future__ import annotations

from typing import Any

import pytest

from configs.schema import Template, Training
from tasks.tracking import identity as tracking_identity
from tasks.training.identity import training_key

OTHER_VALUES: dict[str, Any] = {
    "lora_rank": 8, "lora_alpha": 8.0, "lora_dropout": 0.2, "target_modules": "mlp", "learning_rate": 2.0e-4,
    "schedule": "linear", "warmup_fraction": 0.2, "batch_size": 8, "micro_batch_size": 4, "epochs": 2,
    "weight_decay": 0.1, "max_gradient_norm": 0.5, "evaluations": 2, "early_stopping_patience": 1,
    "max_validation_records": 7, "rank_scaling": "rslora", "method": "dora", "layers": 1, "label_smoothing": 0.1,
    "neftune_alpha": 5.0, "activation_checkpointing": True,
}  # fmt: skip


def _key(training: Training | None = None, template: Template | None = None, **changes: Any) -> str:
    settings: dict[str, Any] = {
        "snapshot": "a" * 64, "base_digest": "b" * 64, "precision": "fp32", "seed": 17, "labels": ("x", "y"),
        "metric": "exact_match", "decoding": "generate", "max_new_tokens": 32,
    }  # fmt: skip
    return training_key(training or Training(), template or Template(), **{**settings, **changes})


def test_equal_settings_give_the_equal_key() -> None:
    assert _key() == _key(Training(), Template())


@pytest.mark.parametrize("field", sorted(Training.model_fields.keys() - {"precision", "template"}))
def test_every_training_field_changes_the_key(field: str) -> None:
    assert _key(Training(**{field: OTHER_VALUES[field]})) != _key()


@pytest.mark.parametrize("field", [{"precision": "fp32"}, {"template": "winner"}])
def test_a_wish_that_leads_to_the_same_run_keeps_the_key(field: dict[str, Any]) -> None:
    assert _key(Training(**field)) == _key()


@pytest.mark.parametrize(
    "change",
    [
        {"snapshot": "c" * 64}, {"base_digest": "c" * 64}, {"precision": "bf16"}, {"seed": 18}, {"labels": None},
        {"labels": ("y", "x")}, {"metric": "token_f1"}, {"decoding": "label_scoring"}, {"max_new_tokens": 8},
        {"template": Template(prompt="Q: {{ prompt }}\n")},
    ],
)  # fmt: skip
def test_whatever_defines_the_run_changes_the_key(change: dict[str, Any]) -> None:
    assert _key(**change) != _key()


@pytest.mark.parametrize("room", ["tasks.training", "tasks.inference", "tasks.data"])
def test_changed_code_changes_the_key(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key()

    monkeypatch.setattr(tracking_identity, "_room_digest", lambda root, name: "changed" if name == room else name)
    changed = _key()
    monkeypatch.setattr(tracking_identity, "_room_digest", lambda root, name: name)

    assert len({before, changed, _key()}) == 3
