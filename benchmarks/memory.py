"""How well the peak memory of a fine-tune is predicted: predicted against measured, on a real base model.

    python -m benchmarks.memory --home HOME --base DIGEST [--shape short] [--json FILE]

HOME holds the imported base (`burnish finetune --recipe configs/icd10.yaml` leaves it there). Each shape is trained for
two steps and one validation look in a worker of its own, on made-up records of exactly that length.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema import Template, Training
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import write_snapshot
from tasks.models.hardware import choose_device, choose_precision, detect_hardware
from tasks.models.worker import ModelWorker
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key

_STEPS = 2
_MAX_NEW_TOKENS = 8


@dataclass(frozen=True)
class Shape:
    """One kind of fine-tune."""

    name: str
    prompt_words: int
    completion_words: int
    training: Training
    look_records: int = 8


SHAPES = (
    Shape("short", 18, 4, Training(batch_size=16, evaluations=1)),
    Shape("long", 180, 60, Training(batch_size=8, evaluations=1)),
    Shape("long, recomputed", 180, 60, Training(batch_size=8, evaluations=1, activation_checkpointing=True)),
    Shape("long, micro-batch 2", 180, 60, Training(batch_size=8, micro_batch_size=2, evaluations=1)),
)


def measure(shape: Shape, *, home: Path, base: str, scratch: Path) -> dict[str, Any]:
    """Return the predicted and the measured peak of one fine-tune, in MiB."""
    hardware = detect_hardware()
    precision = choose_precision("auto", hardware)
    arguments = _arguments(shape, base=base, precision=precision, scratch=scratch)
    said: dict[str, Any] = {}

    def listen(values: dict[str, Any]) -> bool:
        if values["kind"] == "memory":
            said.update(values)
        return True

    with ModelWorker(
        home / "bases" / base, precision=precision, device=choose_device(hardware, 0), threads=hardware.cores
    ) as worker:
        result = worker.run("tasks.training.jobs:train", arguments, listen)
    predicted, measured = said["memory_predicted_mb"], result["memory_peak_mb"]
    return {
        "shape": shape.name,
        "precision": precision,
        "micro_batch_size": said["micro_batch_size"],
        "predicted_mb": round(predicted),
        "measured_mb": round(measured),
        "error": round(predicted / measured - 1, 3),
    }


def _arguments(shape: Shape, *, base: str, precision: str, scratch: Path) -> dict[str, Any]:
    train = _records("train", _STEPS * shape.training.batch_size, shape)
    look = _records("validation", shape.look_records, shape)
    digest = write_snapshot(
        train + look + _records("test", 1, shape),
        snapshots=scratch / "snapshots",
        source_digest="0" * 64,
        parent=None,
        labels=None,
    )
    defines: dict[str, Any] = {
        "snapshot": digest, "labels": None, "metric": "exact_match", "decoding": "generate", "seed": 17,
        "max_new_tokens": _MAX_NEW_TOKENS,
    }  # fmt: skip
    key = training_key(shape.training, Template(), base_digest=base, precision=precision, **defines)
    return TrainArguments(
        training=shape.training, template=Template(), training_key=key, snapshots=scratch / "snapshots",
        checkpoints=scratch / "checkpoints", adapters=scratch / "adapters", token_budget=8192, **defines,
    ).model_dump(mode="json")  # fmt: skip


def _records(split: SplitName, count: int, shape: Shape) -> list[Record]:
    words = ("pain", "fever", "left", "right", "acute", "bone", "eye", "skin")

    def text(number: int, length: int) -> str:
        return " ".join(words[(number + place * place) % len(words)] for place in range(length))

    return [
        Record(
            record_id=f"{split}{number:06d}", split=split, group=f"{split}{number}",
            turns=(Turn("user", f"{number} {text(number, shape.prompt_words)}"),),
            completion=text(number + 3, shape.completion_words),
        )
        for number in range(count)
    ]  # fmt: skip


def main() -> None:
    """Measure the shapes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--base", required=True, help="digest of the imported base")
    parser.add_argument("--shape", action="append", help="only this one")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    rows = []
    for shape in SHAPES:
        if options.shape and shape.name not in options.shape:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measure(shape, home=options.home, base=options.base, scratch=Path(scratch)))
        sys.stdout.write("  ".join(f"{key} {value}" for key, value in rows[-1].items()) + "\n")
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
