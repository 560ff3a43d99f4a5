"""What the slots of a study do next: trials while the budgets last, then confirmations. The lock of the study."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from configs.schema import Search, Training
from tasks.search.budget import Spent, trial_budget, useful_slots, why_no_more_trials
from tasks.search.confirmation import choose_finalists, confirmation_requests
from tasks.search.machine_time import SharedTime, machine_seconds
from tasks.search.optuna_study import OpenTrial, OptunaStudy
from tasks.search.results import TrialRequest, TrialRow
from tasks.search.space import CombinationRefused, Parameters, fitting_parameters, own_parameters, resolve_training

STOPPED_BY_HAND = "stopped by hand"


class SearchStopped(Exception):
    """Raised in a slot that is to drop what it does: the study ends before its work is done."""


@dataclass(frozen=True)
class Work:
    """One fine-tune for a slot; without `trial` it is a confirmation."""

    request: TrialRequest
    trial: OpenTrial | None


class Agenda:
    """Hands out work to slot threads. All that touches the study happens under one lock, in this process alone."""

    def __init__(
        self,
        study: OptunaStudy,
        search: Search,
        training: Training,
        *,
        seed: int,
        clock: Callable[[], float],
        warm_start: Parameters | None,
        affordable_seconds: float | None,
        independent_records: int,
    ) -> None:
        self._study, self._search, self._training, self._seed = study, search, training, seed
        self._affordable_seconds, self._independent_records = affordable_seconds, independent_records
        self.ended_because = ""
        """Why the last trial was the last one; "" while trials begin."""
        self._clock, self._started = clock, clock()
        self._change = threading.Condition()
        self._stopped = False
        self._running = 0
        self._shared_time, self._slots = SharedTime(clock), useful_slots(search)
        self._confirmations: list[TrialRequest] | None = None
        self._earlier_seconds = sum(row.machine_seconds for row in study.rows())
        if not self._live_rows():
            for parameters in self._first_parameters(warm_start)[study.begun :]:
                study.enqueue(parameters)

    def take(self) -> Work | None:
        """Wait for work; None when there is none left for this slot.

        Trials that need no training (refused combinations, repeated parameters) are settled here.
        """
        with self._change:
            while not self._stopped:
                if self._may_begin_trial():
                    work = self._trial_work(self._study.ask())
                elif self._running and self._confirmations is None:
                    # A trial that runs may yet fail, which gives its place in the budget back.
                    self._change.wait()
                    continue
                elif (work := self._confirmation_work()) is None:
                    return None
                if work is not None:
                    self._running += 1
                    self._shared_time.begin(work.request.name)
                    return work
            return None

    def check_going_on(self) -> None:
        """Raise SearchStopped if the study was stopped."""
        if self._stopped:
            raise SearchStopped

    def judge(self, work: Work, report: Mapping[str, Any]) -> str | None:
        """Take in a validation look; return why the trial is to end as pruned, None when it goes on."""
        with self._change:
            self.check_going_on()
            # A confirmation is never pruned, nor is a trial that has nothing left to save.
            if work.trial is None or report["fraction"] >= 1:
                return None
            reason = self._study.report(
                work.trial, fraction=report["fraction"], value=report["value"], independent=self._independent_records
            )
            if self._study.stop_requested(work.request.number):
                return STOPPED_BY_HAND
            return f"fell behind at step {report['step']} with {report['value']:.3g}: {reason}" if reason else None

    def decide(self, work: Work, row: TrialRow) -> TrialRow:
        """Store how a trial ended, before the world hears of it; return the row with its machine time."""
        with self._change:
            self.check_going_on()
            last = self._shared_time.end(row.name)
            row = replace(row, machine_seconds=machine_seconds(row.seconds, last, slots=self._slots))
            if work.trial is not None:
                self._study.decide(work.trial, row)
            return row

    def end(self, work: Work, row: TrialRow) -> None:
        """Close the work once the world has heard of it."""
        with self._change:
            self.check_going_on()
            if work.trial is None:
                self._study.store_confirmation(row)
            else:
                self._study.end(work.trial, row)
            self._running -= 1
            self._change.notify_all()

    def stop(self) -> None:
        """Hand out nothing more and take nothing more in."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def close_running(self, reason: str) -> None:
        """Once stopped, leave no trial RUNNING."""
        with self._change:
            self._study.close_running(reason)

    def _first_parameters(self, warm_start: Parameters | None) -> list[dict[str, Any]]:
        """What the first trials run with: the warm start as far as the space holds it, then the recipe's own values.

        The warm start is the best of an earlier study that tried those too, so a budget of one trial goes to it.
        """
        own = own_parameters(self._search.space, self._training)
        warm = fitting_parameters(self._search.space, warm_start or {})
        return [warm, own][: trial_budget(self._search)] if warm and warm != own else [own]

    def _live_rows(self) -> list[TrialRow]:
        return [row for row in self._study.rows() if row.number >= self._study.forgiven]

    def _may_begin_trial(self) -> bool:
        if self._confirmations is not None:
            return False
        if self._study.waiting_count():
            return True
        rows = self._study.rows()
        confirmations = self._study.confirmations().values()
        spent = Spent(
            rows=[row for row in rows if row.number >= self._study.forgiven],
            running=self._running,
            minutes=(self._earlier_seconds + self._clock() - self._started) / 60,
            machine_seconds=sum(row.machine_seconds for row in (*rows, *confirmations)),
        )
        self.ended_because = (
            why_no_more_trials(
                spent,
                self._search,
                affordable=self._affordable_seconds,
                validation_records=self._independent_records,
            )
            or ""
        )
        return not self.ended_because

    def _trial_work(self, trial: OpenTrial) -> Work | None:
        """Make a request of a trial, or settle it without training."""
        name = f"trial/{trial.number}"
        bare = TrialRow(name, trial.number, state="refused", parameters=trial.parameters, seed=self._seed)
        try:
            training = resolve_training(self._training, trial.parameters)
        except CombinationRefused as refusal:
            self._settle(trial, replace(bare, reason=str(refusal)))
            return None
        earlier = self._same_parameters(trial.parameters)
        if earlier is not None:
            self._study.repeat(trial, repeats=earlier.number)
            repeated = replace(
                earlier,
                name=name,
                number=trial.number,
                repeats=earlier.number,
                seconds=0.0,
                machine_seconds=0.0,
                steps=0,
            )
            self._settle(trial, repeated)
            return None
        request = TrialRequest(
            name=name,
            number=trial.number,
            parameters=trial.parameters,
            training=training,
            seed=self._seed,
        )
        return Work(request, trial)

    def _settle(self, trial: OpenTrial, row: TrialRow) -> None:
        self._study.decide(trial, row)
        self._study.end(trial, row)

    def _same_parameters(self, parameters: Mapping[str, Any]) -> TrialRow | None:
        return next(
            (
                row
                for row in self._study.rows()
                if row.state in ("finished", "pruned") and row.repeats is None and row.parameters == parameters
            ),
            None,
        )

    def _confirmation_work(self) -> Work | None:
        if self._confirmations is None:
            done = self._study.confirmations()
            wanted = confirmation_requests(
                choose_finalists(self._study.rows()),
                self._training,
                seed=self._seed,
                confirmation_seeds=self._search.confirmation_seeds,
            )
            self._confirmations = [request for request in wanted if request.name not in done]
        return Work(self._confirmations.pop(0), None) if self._confirmations else None
