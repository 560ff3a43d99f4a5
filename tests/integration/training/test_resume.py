from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.training.adapters import adapter_weights, fresh_adapter
from tasks.training.checkpoints import newest_checkpoint
from tasks.training.engine import FineTune, Outcome, Plan

MakePlan = Callable[..., Plan]
TRAINING = Training(
    lora_rank=4, batch_size=8, micro_batch_size=4, epochs=2, learning_rate=1.0e-2, lora_dropout=0.2,
    weight_decay=0.01, evaluations=3, early_stopping_patience=3,
)  # fmt: skip
STEPS = 12


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def _train(loaded: LoadedBase, plan: Plan, *, stop_after: int | None = None) -> tuple[Outcome, dict[str, torch.Tensor]]:
    def report(values: dict[str, Any]) -> bool:
        if values["kind"] == "step" and values["step"] == stop_after:
            raise Interrupted
        return True

    with fresh_adapter(loaded, plan.training, seed=plan.seed) as adapted:
        outcome = FineTune(loaded, adapted, plan=plan, report=report).run()
        return outcome, adapter_weights(adapted)


@pytest.fixture
def unbroken(loaded: LoadedBase, make_plan: MakePlan, tmp_path: Path) -> tuple[Outcome, dict[str, torch.Tensor]]:
    return _train(loaded, make_plan(TRAINING, checkpoints=tmp_path / "unbroken", validate=lambda: 0.5))


@pytest.mark.parametrize("checkpoint_seconds", [0.0, float("inf")], ids=["at each step", "at looks"])
@pytest.mark.parametrize("stop_after", [1, 4, 5, 7, 11, 12])
def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(
    loaded: LoadedBase,
    make_plan: MakePlan,
    unbroken: tuple[Outcome, dict[str, torch.Tensor]],
    stop_after: int,
    checkpoint_seconds: float,
) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5, checkpoint_seconds=checkpoint_seconds)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=stop_after)

    outcome, weights = _train(loaded, plan)

    expected, expected_weights = unbroken
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)
    assert outcome.progress.curve == expected.progress.curve
    assert outcome.progress.looks == expected.progress.looks
    assert outcome.progress.trained_records == expected.progress.trained_records


@pytest.mark.parametrize(
    "change",
    [
        {"method": "dora"}, {"method": "full"},
        {"rank_scaling": "rslora"}, {"layers": 1}, {"label_smoothing": 0.1}, {"neftune_alpha": 5.0},
        {"activation_checkpointing": True},
        {"method": "dora", "rank_scaling": "rslora", "neftune_alpha": 5.0, "activation_checkpointing": True},
    ],
    ids=lambda change: "+".join(change),
)  # fmt: skip
@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_each_way_to_tune_resumes_bit_by_bit(
    loaded: LoadedBase, make_plan: MakePlan, tmp_path: Path, change: dict[str, Any], stop_after: int
) -> None:
    training = TRAINING.model_copy(update=change)
    plan = make_plan(training, validate=lambda: 0.5, checkpoint_seconds=0.0)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=stop_after)

    outcome, weights = _train(loaded, plan)

    unbroken = make_plan(training, checkpoints=tmp_path / "unbroken", validate=lambda: 0.5)
    expected, expected_weights = _train(loaded, unbroken)
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(weights[name], expected_weights[name]) for name in weights)
    assert outcome.progress.curve == expected.progress.curve


def test_a_run_interrupted_again_and_again_equals_an_unbroken_one(
    loaded: LoadedBase, make_plan: MakePlan, unbroken: tuple[Outcome, dict[str, torch.Tensor]]
) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5, checkpoint_seconds=0.0)
    for stop_after in range(2, STEPS):
        with pytest.raises(Interrupted):
            _train(loaded, plan, stop_after=stop_after)

    _, weights = _train(loaded, plan)

    assert all(torch.equal(weights[name], unbroken[1][name]) for name in weights)


def test_resume_goes_on_from_the_newest_checkpoint(loaded: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(TRAINING)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=7)
    steps: list[int] = []

    with fresh_adapter(loaded, TRAINING, seed=plan.seed) as adapted:
        FineTune(loaded, adapted, plan=plan, report=lambda values: steps.append(values["step"]) or True).run()

    assert steps[:2] == [4, 5]  # the look at step 4 again, then the first step that was lost


def test_a_finished_run_is_not_trained_again(loaded: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5)
    _train(loaded, plan)

    def no_look() -> float:
        raise AssertionError("nothing is left to look at")

    outcome, _ = _train(loaded, make_plan(TRAINING, validate=no_look))

    assert (outcome.state, outcome.progress.step) == ("finished", STEPS)


def test_looks_of_an_interrupted_attempt_are_reported_again(loaded: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=9)
    reports: list[dict[str, Any]] = []

    with fresh_adapter(loaded, TRAINING, seed=plan.seed) as adapted:
        FineTune(loaded, adapted, plan=plan, report=lambda values: reports.append(values) or True).run()

    looks = [(values["step"], values["replayed"]) for values in reports if values["kind"] == "validation"]
    assert looks == [(4, True), (8, True), (12, False)]


def test_a_replayed_look_may_prune(loaded: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(TRAINING)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=6)

    with fresh_adapter(loaded, TRAINING, seed=plan.seed) as adapted:
        outcome = FineTune(loaded, adapted, plan=plan, report=lambda values: False).run()

    assert (outcome.state, outcome.progress.step) == ("pruned", 4)


@pytest.mark.parametrize("damage", ["torn file", "missing manifest", "missing file", "flipped byte"])
def test_a_damaged_newest_checkpoint_is_skipped_for_the_one_before(
    loaded: LoadedBase,
    make_plan: MakePlan,
    unbroken: tuple[Outcome, dict[str, torch.Tensor]],
    damage: str,
) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=9)
    _damage(plan.checkpoints / "step-00000008", damage)

    found = newest_checkpoint(plan.checkpoints)
    _, weights = _train(loaded, plan)

    assert found is not None and found.progress.step == 4
    assert all(torch.equal(weights[name], unbroken[1][name]) for name in weights)


def test_with_every_checkpoint_damaged_training_starts_anew(
    loaded: LoadedBase, make_plan: MakePlan, unbroken: tuple[Outcome, dict[str, torch.Tensor]]
) -> None:
    plan = make_plan(TRAINING, validate=lambda: 0.5)
    with pytest.raises(Interrupted):
        _train(loaded, plan, stop_after=9)
    for path in plan.checkpoints.glob("step-*"):
        _damage(path, "torn file")

    _, weights = _train(loaded, plan)

    assert all(torch.equal(weights[name], unbroken[1][name]) for name in weights)


def _damage(directory: Path, damage: str) -> None:
    weights = directory / "adapter.safetensors"
    content = weights.read_bytes()
    match damage:
        case "torn file":
            weights.write_bytes(content[: len(content) // 2])
        case "missing manifest":
            (directory / "manifest.json").unlink()
        case "missing file":
            (directory / "optimizer.pt").unlink()
        case "flipped byte":
            weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
