from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.training import divergence
from tasks.training.adapters import adapter_weights, fresh_adapter, trainable_parameters
from tasks.training.batches import Example
from tasks.training.divergence import TrainingDiverged
from tasks.training.engine import FineTune, Outcome, Plan
from tasks.training.optimizer import accumulate_gradients, clip_gradients

MakePlan = Callable[..., Plan]
SMALL = Training(lora_rank=4, batch_size=8, epochs=2, learning_rate=2.0e-2, lora_dropout=0.0, evaluations=3)
STEPS = 12
"""Of SMALL on 44 examples: two passes over six batches."""


def _train(
    loaded: LoadedBase, plan: Plan, *, prune_at: int | None = None
) -> tuple[Outcome, dict[str, torch.Tensor], list[dict[str, Any]]]:
    reports: list[dict[str, Any]] = []

    def report(values: dict[str, Any]) -> bool:
        reports.append(values)
        return values["kind"] != "validation" or values["step"] != prune_at

    with fresh_adapter(loaded, plan.training, seed=plan.seed) as adapted:
        outcome = FineTune(loaded, adapted, plan=plan, report=report).run()
        return outcome, adapter_weights(adapted), reports


def test_only_adapter_weights_change(loaded: LoadedBase, make_plan: MakePlan) -> None:
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    with fresh_adapter(loaded, SMALL, seed=17) as adapted:
        fresh = adapter_weights(adapted)

    _, trained, _ = _train(loaded, make_plan(SMALL))

    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(not torch.equal(fresh[name], trained[name]) for name in fresh)


def test_the_loss_falls(loaded: LoadedBase, make_plan: MakePlan) -> None:
    outcome, _, _ = _train(loaded, make_plan(SMALL.model_copy(update={"epochs": 6})))

    losses = [point["loss"] for point in outcome.progress.curve]
    assert losses[-1] < 0.5 * losses[0]


def test_every_record_is_seen_once_per_epoch(loaded: LoadedBase, make_plan: MakePlan) -> None:
    outcome, _, _ = _train(loaded, make_plan(SMALL))

    assert outcome.progress.step == STEPS
    assert outcome.progress.trained_records == 2 * 44


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_micro_batches_give_the_gradients_of_the_whole_batch(
    loaded: LoadedBase, examples: tuple[Example, ...], micro_batch_size: int
) -> None:
    def gradients(size: int | None) -> tuple[float, list[torch.Tensor]]:
        with fresh_adapter(loaded, SMALL, seed=1) as adapted:
            parameters = trainable_parameters(adapted)
            for parameter in parameters:
                parameter.data += 0.01
            loss = accumulate_gradients(loaded, examples[:8], micro_batch_size=size, pad_id=0)
            return loss, [parameter.grad for parameter in parameters if parameter.grad is not None]

    loss, parts = gradients(micro_batch_size)

    whole_loss, whole = gradients(None)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert len(parts) == len(whole) > 0
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-6)


def test_micro_batches_are_what_runs_at_once(loaded: LoadedBase, make_plan: MakePlan) -> None:
    rows: list[int] = []
    loaded.model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )

    _train(loaded, make_plan(SMALL.model_copy(update={"micro_batch_size": 2, "epochs": 1}), row_tokens=0))

    assert max(rows) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"lora_rank": 2}, {"lora_alpha": 4.0}, {"lora_dropout": 0.5}, {"target_modules": "attention"},
        {"learning_rate": 1.0e-3}, {"schedule": "linear"}, {"warmup_fraction": 0.5}, {"batch_size": 4}, {"epochs": 1},
        {"weight_decay": 0.5}, {"max_gradient_norm": 0.01}, {"rank_scaling": "rslora"}, {"method": "dora"},
        {"method": "full"},
        {"layers": 1}, {"label_smoothing": 0.2}, {"neftune_alpha": 10.0},
    ],
)  # fmt: skip
def test_every_searchable_field_changes_what_is_learnt(
    loaded: LoadedBase, make_plan: MakePlan, change: dict[str, Any]
) -> None:
    _, trained, _ = _train(loaded, make_plan(SMALL))

    changed = SMALL.model_copy(update=change)
    other_place = make_plan(SMALL).checkpoints.with_name("other")
    _, other, _ = _train(loaded, make_plan(changed, checkpoints=other_place))

    same = trained.keys() == other.keys() and all(
        trained[name].shape == other[name].shape and torch.equal(trained[name], other[name]) for name in trained
    )
    assert not same


def test_clipping_limits_the_gradient_norm_and_returns_the_one_before(
    loaded: LoadedBase, examples: tuple[Example, ...]
) -> None:
    with fresh_adapter(loaded, SMALL, seed=1) as adapted:
        parameters = trainable_parameters(adapted)
        accumulate_gradients(loaded, examples[:8], micro_batch_size=None, pad_id=0)

        before = clip_gradients(parameters, 1e-3)

        assert before > 1e-3
        assert clip_gradients(parameters, 1.0) == pytest.approx(1e-3, rel=1e-3)


def test_steps_are_reported_with_rate_and_time_left(loaded: LoadedBase, make_plan: MakePlan) -> None:
    _, _, reports = _train(loaded, make_plan(SMALL))

    steps = [values for values in reports if values["kind"] == "step"]
    assert [values["step"] for values in steps] == list(range(1, STEPS + 1))
    assert steps[0].keys() == {
        "kind", "step", "steps", "loss", "learning_rate", "records_per_second", "seconds_left",
    }  # fmt: skip
    assert steps[0]["steps"] == STEPS
    assert steps[-1]["seconds_left"] == 0 < steps[0]["seconds_left"]
    assert all(values["records_per_second"] > 0 for values in steps)


def test_looks_are_reported_with_their_value(loaded: LoadedBase, make_plan: MakePlan) -> None:
    values = iter([0.25, 0.5, 0.75])

    outcome, _, reports = _train(loaded, make_plan(SMALL, validate=lambda: next(values)))

    looks = [values for values in reports if values["kind"] == "validation"]
    assert [(look["step"], look["value"], look["records"]) for look in looks] == [
        (4, 0.25, 8), (8, 0.5, 8), (12, 0.75, 8),
    ]  # fmt: skip
    assert [look["fraction"] for look in looks] == pytest.approx([1 / 3, 2 / 3, 1])
    assert (outcome.state, outcome.stopped_early, outcome.progress.best_step) == ("finished", False, 12)


def test_early_stopping_ends_the_run_and_keeps_the_best_checkpoint(loaded: LoadedBase, make_plan: MakePlan) -> None:
    values = iter([0.2, 0.8, 0.5, 0.4, 0.9, 0.9])
    training = SMALL.model_copy(update={"evaluations": 6, "early_stopping_patience": 2})
    plan = make_plan(training, validate=lambda: next(values))

    outcome, _, _ = _train(loaded, plan)

    assert (outcome.stopped_early, outcome.progress.step) == (True, 8)
    assert (outcome.progress.best_step, outcome.progress.best_value) == (4, 0.8)
    assert (plan.checkpoints / "step-00000004").is_dir()


def test_a_report_answered_with_false_prunes(loaded: LoadedBase, make_plan: MakePlan) -> None:
    outcome, _, _ = _train(loaded, make_plan(SMALL), prune_at=8)

    assert (outcome.state, outcome.progress.step, outcome.stopped_early) == ("pruned", 8, False)


def test_the_answer_to_a_step_report_prunes_nothing(loaded: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(SMALL)
    with fresh_adapter(loaded, SMALL, seed=17) as adapted:
        outcome = FineTune(loaded, adapted, plan=plan, report=lambda values: bool(values["kind"] == "validation")).run()

    assert outcome.state == "finished"


def test_a_loss_that_is_not_a_number_ends_the_training(loaded: LoadedBase, make_plan: MakePlan) -> None:
    with fresh_adapter(loaded, SMALL, seed=17) as adapted:
        adapted.get_submodule("base_model.model.model.layers.1.mlp.down_proj.lora_A.default").weight.data[0] = math.nan

        with pytest.raises(TrainingDiverged, match=r"step 1: the loss is not finite \(nan\)"):
            FineTune(loaded, adapted, plan=make_plan(SMALL), report=lambda _: True).run()


def test_a_gradient_that_is_not_finite_ends_the_training(loaded: LoadedBase, make_plan: MakePlan) -> None:
    with fresh_adapter(loaded, SMALL, seed=17) as adapted:
        trainable_parameters(adapted)[1].register_hook(lambda gradient: gradient * math.inf)

        with pytest.raises(TrainingDiverged, match="step 1: the gradient norm is not finite"):
            FineTune(loaded, adapted, plan=make_plan(SMALL), report=lambda _: True).run()


def test_a_loss_out_of_bounds_ends_the_training(
    loaded: LoadedBase, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divergence, "_FACTOR", 0.5)

    with pytest.raises(TrainingDiverged, match=r"step 5: the mean loss of the last 5 steps is \d"):
        _train(loaded, make_plan(SMALL.model_copy(update={"learning_rate": 1.0e-6})))


def test_after_a_divergence_the_base_is_plain(loaded: LoadedBase, make_plan: MakePlan) -> None:
    def broken() -> float:
        raise TrainingDiverged("in the middle")

    with pytest.raises(TrainingDiverged):
        _train(loaded, make_plan(SMALL, validate=broken))

    assert not hasattr(loaded.model, "peft_config")


def test_training_leaves_the_random_state_alone(loaded: LoadedBase, make_plan: MakePlan) -> None:
    before = torch.get_rng_state()

    _train(loaded, make_plan(SMALL.model_copy(update={"lora_dropout": 0.3})))

    assert torch.equal(torch.get_rng_state(), before)


def test_a_bf16_base_trains_under_autocast(loaded: LoadedBase, loaded_bf16: LoadedBase, make_plan: MakePlan) -> None:
    plan = make_plan(SMALL.model_copy(update={"epochs": 6}))

    outcome, trained, _ = _train(loaded_bf16, plan)

    reference, _, _ = _train(loaded, replace(plan, checkpoints=plan.checkpoints.with_name("fp32")))
    assert {weights.dtype for weights in trained.values()} == {torch.float32}
    losses, expected = outcome.progress.curve, reference.progress.curve
    assert losses[0]["loss"] == pytest.approx(expected[0]["loss"], rel=0.02)
    assert losses[-1]["loss"] < 0.5 * losses[0]["loss"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_the_same_path_trains_on_a_gpu(base_directory: Any, make_plan: MakePlan, precision: Any) -> None:
    from tasks.models.loading import load_base

    loaded = load_base(base_directory, precision=precision, device="cuda:0")

    outcome, _, _ = _train(loaded, make_plan(SMALL.model_copy(update={"epochs": 6, "lora_dropout": 0.1})))

    assert outcome.progress.curve[-1]["loss"] < 0.5 * outcome.progress.curve[0]["loss"]
