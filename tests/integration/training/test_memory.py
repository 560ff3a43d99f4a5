"""Memory: what is kept, what is predicted, and a fine-tune that runs out of it in a real worker."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from configs.schema import Template, Training
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import write_snapshot
from tasks.models.loading import LoadedBase
from tasks.models.worker import ModelWorker
from tasks.training.activation_bytes import memory_shape
from tasks.training.adapters import fresh_adapter
from tasks.training.arguments import TrainArguments
from tasks.training.batches import Example
from tasks.training.checkpoints import newest_progress
from tasks.training.engine import FineTune, Plan
from tasks.training.identity import training_key
from tasks.training.out_of_memory import train_within_memory

TRAINING = Training(
    lora_rank=4, batch_size=8, epochs=2, evaluations=5, early_stopping_patience=5, learning_rate=3.0e-3,
    lora_dropout=0.0,
)  # fmt: skip
JOB = "tasks.training.jobs:train"


def _records(split: SplitName, count: int) -> list[Record]:
    return [
        Record(f"{split}{number:04d}", split, f"{split}{number}", (Turn("user", f"parcel {number}"),), "AD"[number % 2])
        for number in range(count)
    ]


@pytest.fixture
def make_arguments(tmp_path: Path, base_directory: Path) -> Callable[..., dict[str, Any]]:
    records = _records("train", 40) + _records("validation", 4) + _records("test", 4)
    snapshot = write_snapshot(
        records, snapshots=tmp_path / "snapshots", source_digest="0" * 64, parent=None, labels=("A", "D")
    )

    def make(name: str, training: Training = TRAINING) -> dict[str, Any]:
        defines: dict[str, Any] = {
            "snapshot": snapshot, "labels": ("A", "D"), "metric": "exact_match", "decoding": "label_scoring",
            "seed": 17, "max_new_tokens": 4,
        }  # fmt: skip
        key = training_key(training, Template(), base_digest=base_directory.name, precision="fp32", **defines)
        return TrainArguments(
            training=training, template=Template(), training_key=key, snapshots=tmp_path / "snapshots",
            checkpoints=tmp_path / name, adapters=tmp_path / "adapters", micro_batches=tmp_path / "micro-batches",
            token_budget=512, **defines,
        ).model_dump(mode="json")  # fmt: skip

    return make


def _weights(tmp_path: Path, result: dict[str, Any]) -> dict[str, Any]:
    return load_file(tmp_path / "adapters" / result["adapter"] / "adapter_model.safetensors")


def _train(base_directory: Path, arguments: dict[str, Any], heard: list[dict[str, Any]]) -> dict[str, Any]:
    def listen(values: dict[str, Any]) -> bool:
        heard.append(values)
        return True

    with ModelWorker(base_directory, precision="fp32", device="cpu", threads=1) as worker:
        return train_within_memory(
            lambda wanted, on_report: worker.run(JOB, wanted, on_report), arguments, listen, restart=worker.close
        )


def test_a_worker_that_the_kernel_kills_goes_on_with_half_the_micro_batch_to_the_same_adapter(
    base_directory: Path,
    make_arguments: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[dict[str, Any]] = []
    monkeypatch.setenv("BURNISH_OUT_OF_MEMORY", "8:5")

    result = _train(base_directory, make_arguments("killed"), heard)

    monkeypatch.delenv("BURNISH_OUT_OF_MEMORY")
    unbroken = _train(base_directory, make_arguments("unbroken"), [])
    assert [values["micro_batch_size"] for values in heard if values["kind"] == "memory"] == [8, 4]
    assert [values["step"] for values in heard if values.get("replayed")] == [2, 4]
    assert (result["state"], result["steps"], result["trained_records"]) == ("finished", 10, 80)
    expected = _weights(tmp_path, unbroken)
    for name, weight in _weights(tmp_path, result).items():
        assert weight.allclose(expected[name], rtol=1e-3, atol=1e-5), name


def test_a_worker_whose_memory_is_limited_goes_on_with_half_the_micro_batch(
    base_directory: Path, make_arguments: Callable[..., dict[str, Any]]
) -> None:
    wide = TRAINING.model_copy(update={"batch_size": 40, "lora_rank": 64})
    sizes: list[int] = []

    with ModelWorker(base_directory, precision="fp32", device="cpu", threads=1) as worker:

        def run(arguments: dict[str, Any], on_report: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            return worker.run(JOB, arguments, on_report)

        def listen(values: dict[str, Any]) -> bool:
            if values["kind"] == "memory":
                sizes.append(values["micro_batch_size"])
                if len(sizes) == 1:
                    assert worker.process_id is not None
                    held = psutil.Process(worker.process_id).memory_info().vms
                    resource.prlimit(worker.process_id, resource.RLIMIT_AS, (held, held))
            return True

        result = train_within_memory(run, make_arguments("limited", wide), listen, restart=worker.close)

    assert sizes == [16, 8]
    assert result["state"] == "finished"


def test_a_checkpoint_remembers_the_micro_batch(
    loaded: LoadedBase, make_plan: Callable[..., Plan], examples: tuple[Example, ...]
) -> None:
    plan = make_plan(TRAINING, micro_batch_size=2)

    with fresh_adapter(loaded, TRAINING, seed=1) as adapted:
        FineTune(loaded, adapted, plan=plan, report=lambda values: True).run()

    progress = newest_progress(plan.checkpoints)
    assert progress is not None and progress.micro_batch_size == 2


@pytest.mark.parametrize(
    ("change", "less_by"),
    [({"layers": 1}, 0.6), ({"activation_checkpointing": True}, 0.7), ({"lora_dropout": 0.0}, 1.0)],
)
def test_what_is_kept_is_less_with(
    loaded: LoadedBase, examples: tuple[Example, ...], change: dict[str, Any], less_by: float
) -> None:
    def kept(training: Training) -> float:
        with fresh_adapter(loaded, training, seed=1) as adapted:
            return memory_shape(
                loaded, adapted, training=training, examples=examples, look_lengths=[9, 9], token_budget=512
            ).activation_bytes_per_token

    plain = kept(Training(lora_dropout=0.1))

    assert kept(Training(lora_dropout=0.1).model_copy(update=change)) < less_by * plain
