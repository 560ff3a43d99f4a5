"""The worker jobs that answer one split, or some texts, with one option."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from configs.schema import Consistency, Section
from tasks.data.records import Record, SplitName, records_of_texts
from tasks.data.snapshots import Snapshot, read_snapshot
from tasks.inference.answering import Answerer, Request, measure_answers, option_active
from tasks.inference.answers import option_as_json, select_records, write_answers
from tasks.inference.options import Answers, Option
from tasks.inference.sampling import Sampler
from tasks.inference.shots import choose_shots
from tasks.models.loading import LoadedBase


class Asking(Section):
    """How an option is asked."""

    option: Option
    """A prompt, a candidate or a champion."""
    snapshots: Path
    """Directory of the snapshots."""
    snapshot: str
    """Which snapshot: its training records are the examples."""
    labels: tuple[str, ...] | None
    """The closed label set; None: open generation."""
    max_new_tokens: int = Field(gt=0)
    """Longest generated answer."""
    adapters: Path
    """Directory of all adapters."""
    seed: int = Field(ge=0)
    """Of the choice of examples."""
    token_budget: int = Field(gt=0)
    """Tokens in one batch."""

    @model_validator(mode="after")
    def _label_scoring_has_labels(self) -> Self:
        if self.option.decoding == "label_scoring" and not self.labels:
            raise ValueError(f"option {self.option.name!r} scores labels, and there are none")
        return self


class AnswerArguments(Asking):
    """What the job `answer` is asked to do. The parent builds it and sends `model_dump(mode="json")`."""

    split: SplitName
    """Which of the snapshot's splits."""
    limit: int | None = Field(gt=0)
    """At most this many records, by content hash; None: all."""
    latency_records: int = Field(ge=0)
    """Records answered once more, one at a time."""
    consistency: Consistency | None = None
    """How often, and for how many records, to ask again and answer by chance; None: not at all."""
    answers: Path
    """Directory of all answers."""


class TextArguments(Asking):
    """What the job `answer_texts` is asked to do."""

    texts: tuple[str, ...]
    """Each is one user turn."""
    columns: Mapping[str, str] = Field(default_factory=dict)
    """Metadata of every text, for the template."""


def answer(loaded: LoadedBase, arguments: dict[str, Any], report: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Answer a split's records with one option and store the answers.

    Args:
        loaded: the base; it is left as it was.
        arguments: `AnswerArguments` as JSON.
        report: is sent {done, total} records after each batch.

    Returns:
        `answers` (digest), `records`, `records_per_second`, `latency_p50_seconds` and `latency_p95_seconds` (None if
        not measured).
    """
    task = AnswerArguments.model_validate(arguments)
    requests = make_requests(task)
    with option_active(loaded, task.option, adapters=task.adapters):
        answerer = Answerer(loaded, task.option, labels=task.labels, max_new_tokens=task.max_new_tokens)
        measured = measure_answers(
            answerer,
            requests,
            latency_records=task.latency_records,
            token_budget=task.token_budget,
            on_batch=_progress(report, total=len(requests)),
        )
        if task.consistency is not None:
            measured = _with_samples(measured, answerer, requests, task.consistency, task=task)
    about = {"option": option_as_json(task.option), "snapshot": task.snapshot, "split": task.split}
    return {
        "answers": write_answers(measured, task.answers, **about),
        "records": len(requests),
        "records_per_second": measured.records_per_second,
        "latency_p50_seconds": _percentile(measured.latency_seconds, 50),
        "latency_p95_seconds": _percentile(measured.latency_seconds, 95),
    }


def answer_texts(
    loaded: LoadedBase, arguments: dict[str, Any], report: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Answer texts of no split with one option.

    Args:
        loaded: the base; it is left as it was.
        arguments: `TextArguments` as JSON.
        report: is sent nothing.

    Returns:
        `outputs`, one for each text.
    """
    task = TextArguments.model_validate(arguments)
    requests = _with_shots(
        task, read_snapshot(task.snapshots, task.snapshot), records_of_texts(task.texts, task.columns)
    )
    with option_active(loaded, task.option, adapters=task.adapters):
        answerer = Answerer(loaded, task.option, labels=task.labels, max_new_tokens=task.max_new_tokens)
        answers = answerer.answer(requests, token_budget=task.token_budget)
    return {"outputs": [each.output for each in answers]}


def make_requests(task: AnswerArguments) -> list[Request]:
    """Return the records to answer, each with its examples from the training records."""
    snapshot = read_snapshot(task.snapshots, task.snapshot)
    return _with_shots(task, snapshot, select_records(snapshot.split(task.split), task.limit))


def _with_shots(task: Asking, snapshot: Snapshot, records: Sequence[Record]) -> list[Request]:
    shots = choose_shots(
        task.option.shot_strategy,
        task.option.shots,
        snapshot.split("train"),
        records,
        seed=task.seed,
        labels=task.labels,
        order=task.option.shot_order,
    )
    return [Request(record, examples) for record, examples in zip(records, shots, strict=True)]


def _with_samples(
    measured: Answers, answerer: Answerer, requests: Sequence[Request], wanted: Consistency, *, task: AnswerArguments
) -> Answers:
    sampler = Sampler(temperature=wanted.temperature, seed=task.seed)
    asked = requests[: wanted.records]
    drawn = answerer.sample(asked, samples=wanted.samples, sampler=sampler, token_budget=task.token_budget)
    samples = {request.record.record_id: texts for request, texts in zip(asked, drawn, strict=True)}
    answers = tuple(replace(each, samples=samples.get(each.record_id, ())) for each in measured.answers)
    return replace(measured, answers=answers)


def _progress(report: Callable[[dict[str, Any]], bool], *, total: int) -> Callable[[int], None]:
    done = 0

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        report({"done": done, "total": total})

    return on_batch


def _percentile(seconds: Sequence[float], percent: int) -> float | None:
    return float(np.percentile(seconds, percent)) if seconds else None
