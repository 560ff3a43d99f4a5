from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.schema import Template, Training
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import write_snapshot
from tasks.inference.answering import Answerer, Request, option_active
from tasks.inference.options import Option
from tasks.models.loading import LoadedBase, load_base
from tasks.storage.durable import is_valid_directory, read_manifest
from tasks.training import memory_plan
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key
from tasks.training.jobs import train

MakeArguments = Callable[..., dict[str, Any]]
LABELS = ("A", "D")
TRAINING = Training(
    lora_rank=4, batch_size=8, epochs=6, learning_rate=3.0e-3, evaluations=3, max_validation_records=8,
    lora_dropout=0.1,
)  # fmt: skip
WORDS = {"A": ("password", "settings", "card"), "D": ("parcel", "late", "damaged")}
KILLED_RUN = """
import json, sys
from pathlib import Path
from tasks.models.loading import load_base
from tasks.training.jobs import train
loaded = load_base(Path(sys.argv[1]), precision="fp32", device="cpu")
train(loaded, json.loads(sys.argv[2]), lambda values: True)
"""


def _records(split: SplitName, count: int) -> list[Record]:
    """The same prompts in each split: what is learnt shows on validation at once."""
    records = []
    for number in range(count):
        label = LABELS[number % 2]
        text = f"{WORDS[label][number // 2 % 3]} {number}"
        records.append(Record(f"{split}{number:04d}", split, f"{split} {text}", (Turn("user", text),), label))
    return records


@pytest.fixture
def make_arguments(tmp_path: Path, loaded: LoadedBase) -> MakeArguments:
    snapshot = write_snapshot(
        _records("train", 40) + _records("validation", 12) + _records("test", 4),
        snapshots=tmp_path / "snapshots",
        source_digest="0" * 64,
        parent=None,
        labels=LABELS,
    )

    def make(training: Training = TRAINING, **changes: Any) -> dict[str, Any]:
        defines: dict[str, Any] = {
            "snapshot": snapshot, "labels": LABELS, "metric": "exact_match", "decoding": "generate", "seed": 17,
            "max_new_tokens": 6,
        }  # fmt: skip
        defines |= changes
        key = training_key(training, Template(), base_digest=loaded.digest, precision="fp32", **defines)
        arguments = TrainArguments(
            training=training,
            template=Template(),
            training_key=key,
            snapshots=tmp_path / "snapshots",
            checkpoints=tmp_path / "checkpoints",
            adapters=tmp_path / "adapters",
            token_budget=512,
            **defines,
        )
        return arguments.model_dump(mode="json")

    return make


def _heard(values: dict[str, Any]) -> bool:
    return True


@pytest.mark.parametrize("decoding", ["generate", "label_scoring"])
def test_a_fine_tune_learns_the_task(loaded: LoadedBase, make_arguments: MakeArguments, decoding: str) -> None:
    result = train(loaded, make_arguments(TRAINING.model_copy(update={"epochs": 10}), decoding=decoding), _heard)

    assert (result["state"], result["steps"], result["trained_records"]) == ("finished", 50, 400)
    assert result["best_value"] >= 0.9
    assert result["peak_rss_mb"] > 0 < result["seconds"]


def test_the_result_travels_as_json(loaded: LoadedBase, make_arguments: MakeArguments) -> None:
    result = train(loaded, make_arguments(), _heard)

    assert json.loads(json.dumps(result)) == result


def test_the_look_is_the_metric_that_the_written_adapter_gets(
    loaded: LoadedBase, make_arguments: MakeArguments, tmp_path: Path
) -> None:
    few = TRAINING.model_copy(update={"epochs": 2, "max_validation_records": 12})
    result = train(loaded, make_arguments(few), _heard)

    option = Option("candidate", "candidate", template=Template(), adapter=result["adapter"])
    records = _records("validation", 12)
    with option_active(loaded, option, adapters=tmp_path / "adapters"):
        answerer = Answerer(loaded, option, labels=LABELS, max_new_tokens=6)
        answers = answerer.answer([Request(record, ()) for record in records], token_budget=512)
    right = [answer.output == record.completion for answer, record in zip(answers, records, strict=True)]
    assert result["best_value"] == pytest.approx(sum(right) / 12)


def test_the_adapter_is_that_of_the_best_look(
    loaded: LoadedBase, make_arguments: MakeArguments, tmp_path: Path
) -> None:
    result = train(loaded, make_arguments(), _heard)

    adapter = tmp_path / "adapters" / result["adapter"]
    arguments = make_arguments()
    best = tmp_path / "checkpoints" / arguments["training_key"] / f"step-{result['best_step']:08d}"
    assert (adapter / "adapter_model.safetensors").read_bytes() == (best / "adapter.safetensors").read_bytes()
    assert is_valid_directory(adapter)
    assert read_manifest(adapter)["metrics"] == {"exact_match": result["best_value"]}
    assert max(look["value"] for look in result["looks"]) == result["best_value"]


def test_a_pruned_run_says_so_and_writes_no_adapter(
    loaded: LoadedBase, make_arguments: MakeArguments, tmp_path: Path
) -> None:
    result = train(loaded, make_arguments(), lambda values: values["kind"] == "step")

    assert (result["state"], result["adapter"], result["steps"]) == ("pruned", None, 10)
    assert not (tmp_path / "adapters").exists()


@pytest.mark.parametrize("ending", ["finished", "pruned", "failed"])
def test_after_the_job_the_base_is_plain(loaded: LoadedBase, make_arguments: MakeArguments, ending: str) -> None:
    ids = torch.tensor([[1, 40, 41]])
    before = loaded.model(input_ids=ids).logits

    def report(values: dict[str, Any]) -> bool:
        if ending == "failed":
            raise ConnectionError("the parent is gone")
        return ending == "finished"

    if ending == "failed":
        with pytest.raises(ConnectionError):
            train(loaded, make_arguments(), report)
    else:
        train(loaded, make_arguments(), report)

    assert torch.equal(loaded.model(input_ids=ids).logits, before)
    assert not hasattr(loaded.model, "peft_config")


def test_the_next_job_of_a_worker_is_not_changed_by_the_one_before(
    loaded: LoadedBase, make_arguments: MakeArguments, tmp_path: Path
) -> None:
    first = train(loaded, make_arguments(), _heard)
    train(loaded, make_arguments(TRAINING.model_copy(update={"target_modules": "mlp"}), seed=3), _heard)

    again = train(loaded, {**make_arguments(), "checkpoints": str(tmp_path / "elsewhere")}, _heard)

    assert again["adapter"] == first["adapter"]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["directory:before-manifest:2", "directory:after-rename:2", "write:before-rename:3"])
def test_a_killed_run_ends_with_the_adapter_of_an_unbroken_one(
    base_directory: Path, make_arguments: MakeArguments, tmp_path: Path, point: str
) -> None:
    arguments = make_arguments(TRAINING.model_copy(update={"epochs": 3}))
    environment = {**os.environ, "BURNISH_KILL_AT": point, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", KILLED_RUN, str(base_directory), json.dumps(arguments)]

    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    loaded = load_base(base_directory, precision="fp32", device="cpu")
    heard: list[dict[str, Any]] = []
    result = train(loaded, arguments, lambda values: heard.append(values) or True)
    unbroken = train(loaded, {**arguments, "checkpoints": str(tmp_path / "unbroken")}, _heard)

    assert killed.returncode == -signal.SIGKILL
    assert result["adapter"] == unbroken["adapter"]
    assert result["looks"] == unbroken["looks"]
    assert heard[0]["kind"] == "memory"
    assert heard[0]["step"] > 0


def test_fine_tunes_that_share_the_memory_count_on_their_part(
    loaded: LoadedBase, make_arguments: MakeArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mebibytes in {"free_bytes": 900, "total_bytes": 1000, "held_bytes": 100}.items():
        monkeypatch.setattr(memory_plan, name, lambda _, mebibytes=mebibytes: mebibytes * 2**20)

    def free(count: int) -> float:
        heard: list[dict[str, Any]] = []
        arguments = make_arguments(TRAINING.model_copy(update={"epochs": 1}))
        train(loaded, {**arguments, "fine_tunes_on_device": count}, lambda values: heard.append(values) or True)
        return float(heard[0]["memory_free_mb"])

    assert [free(count) for count in (1, 2, 10, 50)] == [900.0, 400.0, 0.0, 0.0]
