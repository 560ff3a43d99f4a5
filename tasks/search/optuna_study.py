"""The Optuna study: the only module that reads or writes it. Whoever holds the recipe's lease may use it.

A trial has a number of our own, kept in its user attributes: an interrupted trial is marked FAIL in Optuna and its
parameters are enqueued again under a new Optuna number, but it stays the same trial to everyone else. What a trial
draws depends on (seed, number) and on the trials that ended before it, never on what was interrupted meanwhile.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from configs.schema import Search
from tasks.search.halving import why_behind
from tasks.search.results import TrialRow, trial_row_from_json
from tasks.search.space import Parameters, suggest
from tasks.storage.durable import digest_of
from tasks.storage.faults import reach
from tasks.storage.optuna_database import open_storage

NUMBER = "number"
PARAMETERS = "parameters"
_ENQUEUED = "enqueued"
_RESUMES = "resumes"
ROW = "row"
_REASON = "reason"
CONFIRMATION = "confirmation/"
_FORGIVEN = "forgiven_trials"
BEGUN, ENDED = "begun", "ended"
"""User attributes of a study: the budgets with which it was begun last, and why it ended ("" while it is at work)."""

STEPS = 1000

_STARTUP_TRIALS = 4
"""Trials before TPE takes over from random draws: Optuna's ten would leave small budgets without a search."""

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "refused": TrialState.FAIL,
}


@dataclass(frozen=True)
class OpenTrial:
    """A trial that was asked for and has not ended."""

    number: int
    parameters: dict[str, Any]
    handle: optuna.Trial


class OptunaStudy:
    """One study in its database; not for several threads at once."""

    def __init__(self, name: str, url: str, *, search: Search, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search, self._seed = search, seed
        self._storage = open_storage(url)
        optuna.create_study(storage=self._storage, study_name=name, direction="maximize", load_if_exists=True)
        reach("study:created")
        self._study = _StudyWithoutInterrupted(name, self._storage, pruner=optuna.pruners.NopPruner())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def rows(self) -> list[TrialRow]:
        """How each trial ended that has ended, by number."""
        trials = self._study.get_trials(deepcopy=False)
        rows = [_row(trial) for trial in trials if trial.state.is_finished()]
        return sorted(rows, key=lambda row: row.number)

    def waiting_count(self) -> int:
        """Trials that wait to be resumed or run for the first time with given parameters."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def enqueue(self, parameters: Parameters) -> None:
        """Let the next trial run with these parameters; fields that are left out are drawn."""
        self._study.enqueue_trial(
            dict(parameters), user_attrs={NUMBER: self._next_number(), _ENQUEUED: dict(parameters)}
        )
        reach("study:enqueued")

    def ask(self) -> OpenTrial:
        """Begin the next trial: one that waits, else a fresh one."""
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = waiting[0].user_attrs[NUMBER] if waiting else self._next_number()
        self._study.sampler = _sampler(self._search, seed=sampler_seed(self._seed, number))
        handle = self._study.ask()
        reach("study:asked")
        handle.set_user_attr(NUMBER, number)
        parameters = suggest(handle, self._search.space)
        handle.set_user_attr(PARAMETERS, parameters)
        reach("study:drawn")
        return OpenTrial(number, parameters, handle)

    def report(self, trial: OpenTrial, *, fraction: float, value: float, independent: int) -> str | None:
        """Store the value of a validation look; return why the trial falls behind and shall end, None when it goes on.

        The step in Optuna is the thousandth of the trial's own training, so that trials of other epochs or batch
        sizes can be compared.
        """
        trial.handle.report(value, max(1, round(fraction * STEPS)))
        reach("study:reported")
        if self._search.pruner == "none":
            return None
        forgiven = self.forgiven
        trials = [each for each in self._study.get_trials(deepcopy=False) if not _repeats(each)]
        (own,) = (_looks(each) for each in trials if each.number == trial.handle.number)
        others = [
            each
            for each in trials
            if each.number != trial.handle.number and each.intermediate_values and each.user_attrs[NUMBER] >= forgiven
        ]
        return why_behind(
            own,
            [_looks(each) for each in others],
            self._search,
            finished=[_looks(each) for each in others if each.state == TrialState.COMPLETE],
            independent=independent,
        )

    def stop_requested(self, number: int) -> bool:
        """Whether somebody asked for the end of a trial."""
        return stop_key(number) in self._study.user_attrs

    def note_begin(self, budgets: Mapping[str, Any]) -> None:
        """Tell those who watch that the study is at work, and with which budgets."""
        begun = {**budgets, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        self._study.set_user_attr(ENDED, "")
        self._study.set_user_attr(BEGUN, begun)

    def note_end(self, reason: str) -> None:
        """Tell those who watch that the study is over, and why."""
        self._study.set_user_attr(ENDED, reason)

    def repeat(self, trial: OpenTrial, *, repeats: int) -> None:
        """Give a trial the looks of an earlier one, so that the sampler learns from it as if it had run."""
        for earlier in self._study.get_trials(deepcopy=False):
            if earlier.state.is_finished() and _row(earlier).number == repeats:
                for look, value in sorted(earlier.intermediate_values.items()):
                    trial.handle.report(value, look)

    def decide(self, trial: OpenTrial, row: TrialRow) -> None:
        """Store how a trial ended. After a kill from here on it is not run again."""
        trial.handle.set_user_attr(ROW, asdict(row))
        reach("study:decided")

    def end(self, trial: OpenTrial, row: TrialRow) -> None:
        """Close a decided trial in Optuna."""
        self._tell(trial.handle.number, row)

    def decided_rows(self) -> list[TrialRow]:
        """Trials that a killed process decided but didn't close."""
        return [_row(trial) for trial in self._running() if ROW in trial.user_attrs]

    def close_running(self, reason: str) -> None:
        """Leave no trial RUNNING: close what is decided, mark the others FAIL and enqueue them again."""
        for trial in self._running():
            if ROW in trial.user_attrs:
                self._tell(trial.number, _row(trial))
            else:
                self._interrupt(trial, reason)

    def confirmations(self) -> dict[str, TrialRow]:
        """How each confirmation ended that has ended, by name."""
        attributes = self._study.user_attrs
        rows = [trial_row_from_json(row) for key, row in attributes.items() if key.startswith(CONFIRMATION)]
        return {row.name: row for row in rows}

    def store_confirmation(self, row: TrialRow) -> None:
        """Store how a confirmation ended."""
        reach("study:before-confirmation")
        self._study.set_user_attr(row.name, asdict(row))
        reach("study:confirmed")

    @property
    def forgiven(self) -> int:
        """Trials with smaller numbers failed in a search that is over; they don't count against this one."""
        return int(self._study.user_attrs.get(_FORGIVEN, 0))

    @property
    def begun(self) -> int:
        """Trials that were enqueued or begun in the present search, resumed ones counted once."""
        return self._next_number() - self.forgiven

    def forgive_failures(self) -> None:
        """Let the next search of this study begin anew, since what made every trial fail may be mended by then."""
        self._study.set_user_attr(_FORGIVEN, self._next_number())

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _next_number(self) -> int:
        trials = self._study.get_trials(deepcopy=False)
        return 1 + max((trial.user_attrs.get(NUMBER, -1) for trial in trials), default=-1)

    def _tell(self, optuna_number: int, row: TrialRow) -> None:
        value = row.value if row.state == "finished" else None
        self._study.tell(optuna_number, value, state=_STATES[row.state])
        reach("study:told")

    def _interrupt(self, trial: FrozenTrial, reason: str) -> None:
        attributes = trial.user_attrs
        every = self._study.get_trials(deepcopy=False)
        resumed = any(other.user_attrs.get(_RESUMES) == trial.number for other in every)
        # Without a number the trial has drawn nothing yet: the next fresh one gets its number and draws the same.
        if NUMBER in attributes and not resumed:
            parameters = attributes.get(PARAMETERS, attributes.get(_ENQUEUED, {}))
            self._study.enqueue_trial(
                parameters,
                user_attrs={NUMBER: attributes[NUMBER], _ENQUEUED: parameters, _RESUMES: trial.number},
            )
            reach("study:enqueued-again")
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        self._storage.set_trial_user_attr(trial_id, _REASON, reason)
        self._study.tell(trial.number, state=TrialState.FAIL)
        reach("study:interrupted")


class _StudyWithoutInterrupted(optuna.Study):  # type: ignore[misc]  # mypy is told not to follow optuna
    """A study that doesn't show trials which another one resumed, so that no value is counted twice."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        trials = super().get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in trials if trial.state != TrialState.FAIL or ROW in trial.user_attrs]


def sampler_seed(seed: int, number: int) -> int:
    """Return the seed with which a trial draws its parameters."""
    return int(digest_of(["sampler", seed, number])[:8], 16)


def _row(trial: FrozenTrial) -> TrialRow:
    return trial_row_from_json(trial.user_attrs[ROW])


def stop_key(number: int) -> str:
    """The user attribute of a study that asks for the end of a trial."""
    return f"stop/{number}"


def _looks(trial: FrozenTrial) -> dict[float, float]:
    return {step / STEPS: value for step, value in trial.intermediate_values.items()}


def _repeats(trial: FrozenTrial) -> bool:
    return ROW in trial.user_attrs and trial.user_attrs[ROW]["repeats"] is not None


def _sampler(search: Search, *, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    conditional = any(values.when for values in search.space.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # grouped, so that fields which not every trial has are drawn jointly too
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, group=conditional)


def delete_study(study_name: str, study_url: str) -> None:
    """Forget a study, so that the next run begins it anew."""
    optuna.delete_study(study_name=study_name, storage=study_url)
