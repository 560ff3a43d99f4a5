"""Run a study: slots train, this process alone writes the database, and any kill is made good by running again."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from configs.errors import SearchFailed
from configs.schema import Search, Training
from tasks.models.worker import JobFailed, WorkerDied
from tasks.search.agenda import Agenda, SearchStopped, Work
from tasks.search.budget import trial_budget, useful_slots
from tasks.search.confirmation import (
    choose_finalists,
    confirmation_requests,
    gather_finalists,
    name_winner,
    seed_spread,
)
from tasks.search.optuna_study import OptunaStudy
from tasks.search.results import StudyResult, TrialRequest, TrialRow
from tasks.search.space import Parameters
from tasks.storage.optuna_database import database_errors

log = logging.getLogger("burnish")

OnReport = Callable[[dict[str, Any]], bool]
Trainer = Callable[[TrialRequest, OnReport], dict[str, Any]]
"""Trains one request and returns what the worker job `tasks.training.jobs:train` returns. Each report of the job is
passed on; when that returns False after a validation look, the job ends as pruned. An error that the callable lets
through from reporting stops the study."""

_STOP_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.5
"""A join without a limit would not notice a Ctrl-C that the system delivers to another thread."""
_REASONS_SHOWN = 3


@dataclass(frozen=True)
class TrialCallbacks:
    """How the caller hears of trials and confirmations that are trained; called from the slot threads.

    After a kill, `on_trial_started` and `on_trial_ended` may come again for the same name: they must not mind.
    An error in one of them stops the study, since the record of it would have a hole.
    """

    on_trial_started: Callable[[TrialRequest], None]
    on_step: Callable[[TrialRequest, Mapping[str, Any]], None]
    """Each report of the training job, of kind `memory`, `step` or `validation`."""
    on_trial_ended: Callable[[TrialRow], None]


def run_study(
    *,
    study_name: str,
    study_url: str,
    search: Search,
    training: Training,
    seed: int,
    independent_records: int,
    open_trainer: Callable[[int], AbstractContextManager[Trainer]],
    callbacks: TrialCallbacks,
    warm_start: Parameters | None = None,
    affordable_seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> StudyResult:
    """Run a study to the end of its budgets, or go on with it, and name the best parameters.

    The caller holds the recipe's lease: every trial that is still RUNNING was left by a dead process, and is resumed.

    Args:
        study_name: names the study in the database; made from `study_identity`.
        study_url: SQLAlchemy URL of the database.
        search: the recipe's section.
        training: the recipe's section, which the parameters of a trial change.
        seed: the recipe's seed: of the trials, of the draws, and the one below the confirmation seeds.
        independent_records: validation records of each look; where records belong together, their groups.
        open_trainer: called with the slot number in that slot's own thread once it has work, and left in it.
        callbacks: hear of each trial.
        warm_start: parameters of an earlier study that a new one begins with; no part of its identity.
        affordable_seconds: machine time that the budget `search.max_cost` buys; None: any.
        clock: seconds, for the budget `search.minutes`.

    Raises:
        SearchFailed: no trial finished.
        ServerError: the database can't be used.
    """
    with database_errors(study_url), OptunaStudy(study_name, study_url, search=search, seed=seed) as study:
        for row in (each for each in study.decided_rows() if each.was_trained):
            callbacks.on_trial_ended(row)
        study.close_running("the process that ran it was killed; a later trial resumed it")
        if kept := sum(row.number >= study.forgiven for row in study.rows()):
            log.info("  trials that earlier runs of this study left: %d", kept)
        study.note_begin({"trials": trial_budget(search), "minutes": search.minutes, "seconds": affordable_seconds})
        agenda = Agenda(
            study, search, training,
            seed=seed, clock=clock, warm_start=warm_start, affordable_seconds=affordable_seconds,
            independent_records=independent_records,
        )  # fmt: skip
        _Slots(agenda, open_trainer, callbacks).work_off(useful_slots(search))
        study.note_end(agenda.ended_because)
        return _result(study, study_name, search=search, training=training, seed=seed, ended=agenda.ended_because)


class _Slots:
    """Threads that take work until there is none. Each owns one trainer."""

    def __init__(
        self,
        agenda: Agenda,
        open_trainer: Callable[[int], AbstractContextManager[Trainer]],
        callbacks: TrialCallbacks,
    ) -> None:
        self._agenda, self._open_trainer, self._callbacks = agenda, open_trainer, callbacks
        self._errors: list[BaseException] = []

    def work_off(self, count: int) -> None:
        """Run the slots; the first error of any of them, or an interrupt, stops all and is raised here."""
        threads = [
            # in the caller's context, or Prefect would not know whose log lines the slot's are
            threading.Thread(target=copy_context().run, args=(self._run, slot), name=f"slot-{slot}", daemon=True)
            for slot in range(count)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_POLL_SECONDS)
            if self._errors:
                raise self._errors[0]
        except BaseException as error:
            self._agenda.stop()
            self._agenda.close_running(f"the search was stopped by {type(error).__name__}; a later trial resumed it")
            for thread in threads:
                thread.join(_STOP_GRACE_SECONDS)
            raise

    def _run(self, slot: int) -> None:
        try:
            self._work(slot)
        except SearchStopped:
            return
        except BaseException as error:
            self._errors.append(error)
            self._agenda.stop()

    def _work(self, slot: int) -> None:
        with ExitStack() as stack:
            trainer: Trainer | None = None
            while (work := self._agenda.take()) is not None:
                trainer = trainer or stack.enter_context(self._open_trainer(slot))
                self._callbacks.on_trial_started(work.request)
                row = self._agenda.decide(work, self._train(work, trainer))
                self._callbacks.on_trial_ended(row)
                self._agenda.end(work, row)

    def _train(self, work: Work, trainer: Trainer) -> TrialRow:
        attempt = _Attempt(work.request)

        def on_report(report: dict[str, Any]) -> bool:
            self._agenda.check_going_on()
            if report["kind"] != "memory":
                attempt.note(report)
            self._callbacks.on_step(work.request, report)
            if report["kind"] == "validation":
                attempt.end_reason = self._agenda.judge(work, report)
            return attempt.end_reason is None

        try:
            result = trainer(work.request, on_report)
        except (JobFailed, WorkerDied) as error:
            return attempt.failed(str(error))
        return attempt.ended(result)


@dataclass
class _Attempt:
    """What is known of a fine-tune while it runs."""

    request: TrialRequest
    step: int = 0
    planned_steps: int = 0
    end_reason: str | None = None
    """Why it is to end as pruned."""
    started: float = field(default_factory=time.monotonic)

    def note(self, report: Mapping[str, Any]) -> None:
        self.step = max(self.step, int(report["step"]))
        if report["kind"] == "validation":
            self.planned_steps = round(report["step"] / report["fraction"])
        else:
            self.planned_steps = int(report["steps"])

    def ended(self, result: Mapping[str, Any]) -> TrialRow:
        value = float(result["best_value"])
        if not math.isfinite(value):
            return self.failed(f"its validation value is {value}, which can't be compared")
        pruned = result["state"] == "pruned"
        return TrialRow(
            **self._common(),
            state="pruned" if pruned else "finished",
            value=value,
            seconds=float(result["seconds"]),
            steps=int(result["steps"]),
            planned_steps=max(self.planned_steps, int(result["steps"])),
            adapter=result["adapter"],
            memory_peak_mb=result.get("memory_peak_mb"),
            reason=self.end_reason if pruned else None,
        )

    def failed(self, reason: str) -> TrialRow:
        return TrialRow(
            **self._common(),
            state="failed",
            seconds=time.monotonic() - self.started,
            steps=self.step,
            planned_steps=self.planned_steps,
            reason=reason,
        )

    def _common(self) -> dict[str, Any]:
        request = self.request
        return {
            "name": request.name,
            "number": request.number,
            "parameters": dict(request.parameters),
            "seed": request.seed,
        }


def _result(
    study: OptunaStudy, study_name: str, *, search: Search, training: Training, seed: int, ended: str
) -> StudyResult:
    rows, confirmations = study.rows(), study.confirmations()
    finalists = choose_finalists(rows)
    if not finalists:
        study.forgive_failures()
        raise SearchFailed(_failure_message(study_name, rows))
    requests = confirmation_requests(finalists, training, seed=seed, confirmation_seeds=search.confirmation_seeds)
    rivals = gather_finalists(finalists, confirmations, requests)
    best = name_winner(rivals)
    everything = [*rows, *confirmations.values()]
    return StudyResult(
        study_name=study_name,
        best=best,
        runner_up=next((rival for rival in rivals if rival is not best), None),
        trials=tuple(rows),
        spread=seed_spread(best),
        seconds_trained=sum(row.machine_seconds for row in everything),
        seconds_saved_by_pruning=sum(row.seconds_saved for row in everything),
        ended=ended,
    )


def _failure_message(study_name: str, rows: list[TrialRow]) -> str:
    reasons = list(dict.fromkeys(f"{row.name}: {row.reason}" for row in rows if row.reason))
    shown = "\n  ".join(reasons[:_REASONS_SHOWN])
    return (
        f"no trial of study {study_name} finished, {len(rows)} tried; one must before a candidate can be named. "
        f"Reasons:\n  {shown}\nMend the cause and run the same command again: the study then tries anew"
    )
