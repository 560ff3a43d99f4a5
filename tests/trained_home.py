"""A tiny base model, adapters of random weights and a snapshot, as the stages before registration leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from configs.schema import Template, TinyBase, Training
from tasks.data.records import Record, SplitName, Turn
from tasks.inference.options import Option
from tasks.registry.packaging import AdapterPackage

LABELS = ("circulatory", "digestive", "eye", "injury, of any kind")
MAX_NEW_TOKENS = 6


@dataclass(frozen=True)
class TrainedHome:
    """Digests below a home folder."""

    home: Path
    base: str
    adapter: str
    snapshot: str

    @property
    def base_directory(self) -> Path:
        return self.home / "bases" / self.base

    @property
    def adapter_directory(self) -> Path:
        return self.home / "adapters" / self.adapter

    def package(self, **changed: Any) -> AdapterPackage:
        """What registration would package."""
        package = AdapterPackage(
            adapter=self.adapter_directory,
            base=self.base_directory,
            template=Template(prompt="Term: {{ prompt }}\nChapter:", completion=" {{ completion }}"),
            labels=LABELS,
            decoding="generate",
            max_new_tokens=MAX_NEW_TOKENS,
            precision="fp32",
            input_column="prompt",
            metadata=("source",),
        )
        return replace(package, **changed)


def make_trained_home(home: Path) -> TrainedHome:
    from tasks.data.snapshots import write_snapshot
    from tasks.models.base_models import import_base

    base = import_base(TinyBase(hidden_size=32, vocabulary=300), bases=home / "bases", project_root=home)
    adapter = make_adapter(home, base, seed=1)
    snapshot = write_snapshot(make_records(), snapshots=home / "snapshots", source_digest="s" * 64, labels=LABELS)
    return TrainedHome(home, base, adapter, snapshot)


def make_adapter(
    home: Path,
    base: str,
    *,
    seed: int,
    precision: Literal["fp32", "bf16"] = "fp32",
    training: Training = Training(lora_rank=4),  # noqa: B008 - frozen
) -> str:
    """Write an adapter whose weights are large enough to change every answer."""
    import torch
    from safetensors.torch import save_file

    from tasks.models.loading import load_base
    from tasks.training.adapters import adapter_weights, fresh_adapter, write_adapter

    loaded = load_base(home / "bases" / base, precision=precision, device="cpu")
    with fresh_adapter(loaded, training, seed=seed) as adapted:
        generator = torch.Generator().manual_seed(seed)
        weights = {
            name: torch.randn(weight.shape, generator=generator) * 0.3
            + (weight if "lora_" not in name or "magnitude" in name else 0)
            for name, weight in adapter_weights(adapted).items()
        }
        file = home / f"weights-{seed}.safetensors"
        save_file(weights, file)
        return write_adapter(home / "adapters", adapted, weights_file=file, base_digest=base, about={})


def make_records() -> list[Record]:
    terms = (
        "Kinking of ureter",
        "Ulcer of stomach </s> acute",
        "Broken left arm",
        "  Cataract,\n senile  ",
        "Ω 漢字 é",
    )
    splits: tuple[SplitName, ...] = ("train", "validation", "test", "test", "test", "test", "test")
    return [
        Record(
            record_id=f"record-{number}",
            split=splits[number % len(splits)],
            group=str(number),
            turns=(Turn("user", f"{terms[number % len(terms)]} {'of the right side ' * (number % 4)}({number})"),),
            completion=LABELS[number % len(LABELS)],
            metadata={"source": f"clinic {number % 3}"},
        )
        for number in range(14)
    ]


def trainer_reference(
    trained: TrainedHome, package: AdapterPackage, records: Sequence[Record], *, references: Path
) -> Path:
    """What the trainer's own model says to the records: the file that the worker job leaves."""
    from tasks.inference.reference import logits
    from tasks.models.loading import load_base

    ids = [record.record_id for record in records]
    loaded = load_base(package.base, precision=package.precision, device="cpu")
    reply = logits(loaded, _reference_arguments(trained, package, ids, references=references), lambda values: True)
    return references / reply["reference"]


def trainer_margins(
    trained: TrainedHome, package: AdapterPackage, record_ids: Sequence[str], said: Sequence[str]
) -> list[float]:
    """How far below its best label the trainer's own model scores those said."""
    from tasks.inference.reference import label_margins
    from tasks.models.loading import load_base

    asked = _reference_arguments(trained, package, record_ids, references=trained.home / "references")
    loaded = load_base(package.base, precision=package.precision, device="cpu")
    margins: list[float] = label_margins(loaded, {**asked, "said": said}, lambda values: True)["margins"]
    return margins


def _reference_arguments(
    trained: TrainedHome, package: AdapterPackage, record_ids: Sequence[str], *, references: Path
) -> dict[str, Any]:
    from tasks.inference.answers import option_as_json

    option = Option(
        "candidate", "candidate", package.template, decoding=package.decoding, adapter=package.adapter.name
    )  # fmt: skip
    return {
        "option": option_as_json(option),
        "snapshots": str(trained.home / "snapshots"),
        "snapshot": trained.snapshot,
        "record_ids": list(record_ids),
        "labels": package.labels,
        "max_new_tokens": package.max_new_tokens,
        "batch_token_budget": 8192,
        "top_tokens": 300,
        "references": str(references),
        "adapters": str(package.adapter.parent),
    }
