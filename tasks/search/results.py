"""What a study is asked and what it found: values that survive JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from configs.schema import Training

TrialState = Literal["finished", "pruned", "failed", "refused"]
"""`failed`: training raised or its process died; `refused`: the parameters contradict each other, nothing was run."""


@dataclass(frozen=True)
class TrialRequest:
    """One fine-tune that the study wants: a trial, or a confirmation of one with another seed."""

    name: str
    """`trial/3`, or `confirmation/3-seed-18`: also the name of its MLflow run."""
    number: int
    """Of the trial, counted from 0; a resumed trial keeps the number of the interrupted one."""
    parameters: Mapping[str, Any]
    """The searched fields only."""
    training: Training
    """The whole section with these parameters."""
    seed: int


@dataclass(frozen=True)
class TrialRow:
    """How one fine-tune ended."""

    name: str
    number: int
    state: TrialState
    parameters: dict[str, int | float | str]
    seed: int
    value: float | None = None
    """Best validation value; None if there was none."""
    seconds: float = 0.0
    """Training time, that of interrupted attempts included."""
    machine_seconds: float = 0.0
    """What that took of the machine's time, which fine-tunes that run at once share: it is what is paid for."""
    steps: int = 0
    """Optimizer steps taken."""
    planned_steps: int = 0
    """Optimizer steps that a trial has which is not pruned."""
    adapter: str | None = None
    """Digest of the adapter; None unless finished."""
    memory_peak_mb: float | None = None
    """Most memory that its worker held, on the device that trained it; None unless it finished or was pruned."""
    reason: str | None = None
    """Why it failed, was refused or was pruned."""
    repeats: int | None = None
    """Number of the earlier trial with the same parameters, whose outcome this one took over without training."""

    @property
    def was_trained(self) -> bool:
        """Whether anything was run for it."""
        return self.state != "refused" and self.repeats is None

    @property
    def seconds_saved(self) -> float:
        """Estimated machine time of the steps that pruning spared: steps not taken times that of a step taken."""
        if self.state != "pruned" or self.steps == 0:
            return 0.0
        return max(0, self.planned_steps - self.steps) * self.machine_seconds / self.steps


@dataclass(frozen=True)
class Finalist:
    """A trial that stood for the title, with all its runs: its own first, then one for each fresh seed."""

    number: int
    parameters: dict[str, int | float | str]
    runs: tuple[TrialRow, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Validation values of the runs that finished."""
        return tuple(run.value for run in self.runs if run.value is not None)

    @property
    def mean_value(self) -> float:
        """Mean validation value over the runs that finished."""
        return sum(self.values) / len(self.values)

    @property
    def failures(self) -> int:
        """Runs that didn't finish."""
        return sum(run.value is None for run in self.runs)

    @property
    def best_run(self) -> TrialRow:
        """The run with the best validation value, the first one among equals: its adapter becomes the candidate."""
        return max((run for run in self.runs if run.value is not None), key=lambda run: run.value or 0.0)


@dataclass(frozen=True)
class SeedSpread:
    """How far the seed alone moves the validation value."""

    values: tuple[float, ...]
    standard_deviation: float | None
    """Of the sample (n - 1); None with fewer than two values."""
    range: float | None
    """Largest minus smallest value; None with fewer than two values."""


@dataclass(frozen=True)
class StudyResult:
    """The outcome of a study."""

    study_name: str
    best: Finalist
    runner_up: Finalist | None
    trials: tuple[TrialRow, ...]
    """Every trial that ended, by number; interrupted attempts are part of the trial that resumed them."""
    spread: SeedSpread
    """Over all seeds of the best one."""
    seconds_trained: float
    """Machine time of all trials and confirmations."""
    seconds_saved_by_pruning: float
    """Estimated; see `TrialRow.seconds_saved`."""
    ended: str = ""
    """Why no further trial was begun."""

    @property
    def adapter(self) -> str:
        """Digest of the candidate's adapter."""
        adapter = self.best.best_run.adapter
        if adapter is None:
            raise ValueError(f"{self.best.best_run.name} finished without an adapter")
        return adapter

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `study_result_from_json` is the way back."""
        return asdict(self)


_STUDY_RESULT = TypeAdapter(StudyResult)
_TRIAL_ROW = TypeAdapter(TrialRow)


def study_result_from_json(values: Mapping[str, Any]) -> StudyResult:
    """Rebuild a result from `StudyResult.to_json`, before or after JSON."""
    return _STUDY_RESULT.validate_python(values)


def trial_row_from_json(values: Mapping[str, Any]) -> TrialRow:
    """Rebuild a row from `dataclasses.asdict`, before or after JSON."""
    return _TRIAL_ROW.validate_python(values)
