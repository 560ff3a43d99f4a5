"""Real fine-tunes of the tiny base on made-up records, each trained once and replayed when it is asked for again.

Training is deterministic: a pruned run does what the whole one does up to its last look. So one recording of the whole
run, replayed until the study says stop, is exactly what a run under that study's pruner would have reported.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.schema import Choices, Range, Template, TinyBase, Training
from tasks.data.records import Record, Turn
from tasks.data.snapshots import write_snapshot
from tasks.models.base_models import import_base
from tasks.models.loading import LoadedBase, load_base
from tasks.search.results import TrialRequest
from tasks.search.study_runner import OnReport
from tasks.storage.durable import digest_of
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key
from tasks.training.jobs import train

SPACE = {
    "learning_rate": Range(low=3.0e-4, high=3.0e-2, log=True),
    "lora_rank": Choices(choices=(2, 8)),
    "batch_size": Choices(choices=(8, 16)),
    "epochs": Choices(choices=(3, 6)),
}
TRAINING = Training(
    lora_rank=8, learning_rate=3.0e-3, epochs=3, evaluations=4, early_stopping_patience=4, precision="fp32"
)
_LABELS = ("billing", "delivery", "login", "returns")
_WORDS = (
    "invoice", "parcel", "password", "exchange", "refund", "courier",
    "account", "sizing", "charge", "package", "email", "label",
)  # fmt: skip
_TOPICS, _MISLABELLED = len(_LABELS), 0.1
_COUNTS = {"train": 192, "validation": 64, "test": 256}
_TEMPLATE = Template(max_tokens=64)


@dataclass
class TinyFineTunes:
    """Trains, or replays what was trained, in this process."""

    home: Path
    base: LoadedBase
    snapshot: str
    labels: tuple[str, ...]
    recorded: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, request: TrialRequest, on_report: OnReport) -> dict[str, Any]:
        """One fine-tune, as a study's trainer."""
        key = digest_of([request.training.model_dump(mode="json"), request.seed])
        if key not in self.recorded:
            self.recorded[key] = self._record(request)
        reports, result = self.recorded[key]
        for report in reports:
            if not on_report(report):
                share = report["step"] / result["steps"]
                values = [
                    each["value"] for each in reports if each["kind"] == "validation" and each["step"] <= report["step"]
                ]
                cut = {"steps": report["step"], "seconds": result["seconds"] * share, "best_value": max(values)}
                return {**result, **cut, "state": "pruned", "adapter": None}
        return result

    def arguments(self, training: Training, seed: int) -> TrainArguments:
        """What the worker job `train` is asked for."""
        common: dict[str, Any] = {
            "snapshot": self.snapshot, "labels": self.labels, "metric": "exact_match", "decoding": "label_scoring",
            "seed": seed, "max_new_tokens": 8,
        }  # fmt: skip
        key = training_key(training, _TEMPLATE, base_digest=self.base.digest, precision="fp32", **common)
        return TrainArguments(
            training=training, template=_TEMPLATE, snapshots=self.home / "snapshots", training_key=key,
            checkpoints=self.home / "checkpoints", adapters=self.home / "adapters", token_budget=8192, **common,
        )  # fmt: skip

    def _record(self, request: TrialRequest) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        reports: list[dict[str, Any]] = []

        def keep(report: dict[str, Any]) -> bool:
            if report["kind"] == "validation":
                reports.append(report)
            return True

        arguments = self.arguments(request.training, request.seed).model_dump(mode="json")
        return reports, train(self.base, arguments, keep)


def tiny_fine_tunes(home: Path) -> TinyFineTunes:
    """Make the base and the records below a folder."""
    base = import_base(TinyBase(), bases=home / "bases", project_root=home)
    loaded = load_base(home / "bases" / base, precision="fp32", device="cpu")
    snapshot = write_snapshot(list(_records()), snapshots=home / "snapshots", source_digest="0" * 64, labels="infer")
    return TinyFineTunes(home, loaded, snapshot, tuple(sorted(_LABELS)))


def as_trainers(trainer: TinyFineTunes) -> Callable[[int], Any]:
    """The `open_trainer` of a study."""

    @contextmanager
    def open_trainer(slot: int) -> Iterator[TinyFineTunes]:
        yield trainer

    return open_trainer


def _records() -> Iterator[Record]:
    """A message names one of twelve words, which tells its topic; a tenth carries another topic."""
    draw = random.Random(0)
    splits = [name for name, count in _COUNTS.items() for _ in range(count)]
    for number, split in enumerate(splits):
        word = draw.randrange(len(_WORDS))
        topic = draw.randrange(_TOPICS) if draw.random() < _MISLABELLED else word % _TOPICS
        text = f"{draw.choice(('about', 'for', 'with'))} {_WORDS[word]} {draw.choice(('please', 'today', 'again'))}\n"
        yield Record(f"{number:016d}", split, str(number), (Turn("user", text),), _LABELS[topic])  # type: ignore[arg-type]
