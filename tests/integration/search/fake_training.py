"""A trainer that trains nothing, but reports, checkpoints, replays and ends as the worker job does."""

from __future__ import annotations

import json
import multiprocessing
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.schema import Choices, Range, Search, Training
from tasks.search.study_runner import TrialCallbacks, run_study
from tasks.storage.durable import digest_of, write_json
from tasks.storage.faults import reach

SEED = 17
STEPS_PER_LOOK = 25
STUDY_NAME = "study"
SEARCH = Search(
    space={
        "learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True),
        "lora_rank": Range(low=2, high=64, log=True),
        "schedule": Choices(choices=("linear", "cosine")),
    },
    trials=7,
    reduction_factor=2,
    min_fraction=0.25,
)


def final_value(training: Training, seed: int) -> float:
    """Best at learning rate 3e-3 and rank 12, with a little noise that hangs on everything."""
    noise = int(digest_of([training.model_dump(mode="json"), seed])[:6], 16) / 16**6
    distance = abs(training.learning_rate - 3.0e-3) / 1.0e-2 + abs(training.lora_rank - 12) / 64
    return round(0.8 - 0.5 * distance + 0.02 * noise, 6)


@dataclass
class FakeTrainer:
    """With `checkpoints`, an interrupted run goes on behind its last look, which it first reports again."""

    checkpoints: Path | None = None
    errors: dict[str, BaseException] = field(default_factory=dict)
    """Raised before the first look, by request name."""
    started: list[str] = field(default_factory=list)
    looks_trained: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, request, on_report) -> dict[str, Any]:
        self.started.append(request.name)
        looks, steps = request.training.evaluations, request.training.evaluations * STEPS_PER_LOOK
        done = self._restore(request)
        for look in range(1, looks + 1):
            if look > done:
                self.looks_trained.append((request.name, look))
                step = look * STEPS_PER_LOOK
                on_report({"kind": "step", "step": step, "steps": steps, "loss": 1.0, "learning_rate": 0.1})
                self._save(request, look)
                if request.name in self.errors:
                    raise self.errors[request.name]
            value = final_value(request.training, request.seed) * (0.5 + 0.5 * look / looks)
            report = {"kind": "validation", "step": look * STEPS_PER_LOOK, "fraction": look / looks, "value": value}
            if not on_report(report):
                return self._result(request, "pruned", look, value)
        return self._result(request, "finished", looks, value)

    def _result(self, request, state, look, value):
        adapter = digest_of([dict(request.parameters), request.seed]) if state == "finished" else None
        steps = look * STEPS_PER_LOOK
        return {"state": state, "best_value": value, "steps": steps, "seconds": steps / 10, "adapter": adapter}

    def _file(self, request):
        return self.checkpoints / digest_of([request.training.model_dump(mode="json"), request.seed])

    def _restore(self, request) -> int:
        known = self.checkpoints is not None and self._file(request).is_file()
        return json.loads(self._file(request).read_text()) if known else 0

    def _save(self, request, look):
        if self.checkpoints is not None:
            write_json(self._file(request), look)
        reach("fake:look")


@dataclass
class Heard:
    """Remembers what the callbacks were told."""

    started: list[str] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)

    def callbacks(self) -> TrialCallbacks:
        return TrialCallbacks(
            on_trial_started=lambda request: self.started.append(request.name),
            on_step=lambda request, report: self.steps.append((request.name, report["kind"])),
            on_trial_ended=self.ended.append,
        )


def run(url: str, *, trainer=None, search=SEARCH, training=None, heard=None, name=STUDY_NAME, **others):
    """`run_study` with the fakes."""
    trainer = trainer or FakeTrainer()

    @contextmanager
    def open_trainer(slot):
        yield trainer

    return run_study(
        study_name=name,
        study_url=url,
        search=search,
        training=training or Training(),
        seed=SEED,
        independent_records=64,
        open_trainer=open_trainer,
        callbacks=(heard or Heard()).callbacks(),
        **others,
    )


def run_in_process(
    url: str, checkpoints: Path, search: Search = SEARCH, *, name: str = STUDY_NAME, **environment: str
) -> int:
    """`run` in a process with none of this one's state; returns its exit code, -9 when a kill point was reached."""
    clean = multiprocessing.get_context("forkserver")
    clean.set_forkserver_preload([__name__])
    process = clean.Process(target=_run_with, args=(environment, url, checkpoints, search, name))
    process.start()
    process.join()
    return process.exitcode


def _run_with(environment: dict[str, str], url: str, checkpoints: Path, search: Search, name: str) -> None:
    os.environ.update(environment)
    run(url, trainer=FakeTrainer(checkpoints), search=search, name=name)
