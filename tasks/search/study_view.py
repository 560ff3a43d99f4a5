"""A study as somebody sees it who doesn't run it: read from its database, in which nothing but wishes is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from configs.errors import StudyError
from tasks.search.optuna_study import BEGUN, CONFIRMATION, ENDED, NUMBER, PARAMETERS, ROW, STEPS, stop_key
from tasks.search.results import trial_row_from_json
from tasks.storage.optuna_database import open_storage, open_to_read


@dataclass(frozen=True)
class TrialView:
    """One trial as it stands."""

    number: int
    state: str
    """`waiting`, `running`, `stopping`, or how it ended."""
    parameters: Mapping[str, Any]
    curve: tuple[tuple[float, float], ...]
    """Fraction of its training and validation value, look by look."""
    value: float | None
    """Best validation value so far."""
    machine_seconds: float | None
    """What its training took of the machine's time; None while it runs."""
    reason: str | None


@dataclass(frozen=True)
class StudyView:
    """A study as it stands."""

    name: str
    trials: tuple[TrialView, ...]
    """By number."""
    confirmations: int
    """That ended."""
    trial_budget: int
    affordable_seconds: float | None
    """Machine time that `search.max_cost` buys."""
    machine_seconds: float
    """Of what ended."""
    ended: str
    """Why no further trial begins, once all is over; "" before."""

    @property
    def best(self) -> TrialView | None:
        """The finished trial with the highest value; among equals the first."""
        done = [trial for trial in self.trials if trial.state == "finished" and trial.value is not None]
        return max(done, key=lambda trial: trial.value or 0.0) if done else None

    @property
    def trials_left(self) -> int:
        """Of the budget, those that run included."""
        return max(0, self.trial_budget - sum(trial.state in ("finished", "pruned") for trial in self.trials))


class StudyReader:
    """Reads the study of a recipe that was begun last; never writes."""

    def __init__(self, study_url: str, recipe_name: str) -> None:
        self._storage, self._recipe_name = open_to_read(study_url), recipe_name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def read(self) -> StudyView | None:
        """The study as it stands; None before the recipe has one."""
        self._storage.remove_session()  # or SQLAlchemy answers from what it read before
        study = _newest_study(self._storage, self._recipe_name)
        if study is None:
            return None
        attributes = study.user_attrs
        trials = self._storage.get_all_trials(study._study_id, deepcopy=False)
        views = [view for trial in trials if (view := _trial_view(trial, attributes)) is not None]
        rows = [trial_row_from_json(row) for key, row in attributes.items() if key.startswith(CONFIRMATION)]
        return StudyView(
            name=study.study_name,
            trials=tuple(sorted(views, key=lambda view: view.number)),
            confirmations=len(rows),
            trial_budget=int(attributes[BEGUN]["trials"]),
            affordable_seconds=attributes[BEGUN]["seconds"],
            machine_seconds=sum(view.machine_seconds or 0.0 for view in views)
            + sum(row.machine_seconds for row in rows),
            ended=str(attributes.get(ENDED, "")),
        )


def request_stop(study_url: str, recipe_name: str, number: int) -> str:
    """Ask whoever runs the recipe's newest study to end a trial at its next validation look, and say so.

    The wish stands in the study's database, so that it reaches another machine too and outlives a kill.

    Raises:
        StudyError: there is no study, or the trial neither runs nor waits.
    """
    with StudyReader(study_url, recipe_name) as reader:
        view = reader.read()
    if view is None:
        raise StudyError(f"recipe {recipe_name!r} has no study; `burnish search --recipe …` begins one")
    open_trials = [trial.number for trial in view.trials if trial.state in ("waiting", "running", "stopping")]
    if number not in open_trials:
        which = f"these can be: {', '.join(map(str, open_trials))}" if open_trials else "none runs"
        raise StudyError(f"trial {number} of {view.name} can't be stopped, since it doesn't run; {which}")
    storage = open_storage(study_url)
    try:
        storage.set_study_user_attr(storage.get_study_id_from_name(view.name), stop_key(number), True)
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return f"trial {number} of {view.name} ends at its next validation look"


def _newest_study(storage: BaseStorage, recipe_name: str) -> FrozenStudy | None:
    name = re.compile(rf"{re.escape(recipe_name)}-[0-9a-f]{{16}}")
    found = [each for each in storage.get_all_studies() if name.fullmatch(each.study_name) and BEGUN in each.user_attrs]
    return max(found, key=lambda study: str(study.user_attrs[BEGUN]["at"]), default=None)


def _trial_view(trial: FrozenTrial, study_attributes: Mapping[str, Any]) -> TrialView | None:
    """None for an attempt that another one resumed, and for one that has drawn nothing yet."""
    attributes = trial.user_attrs
    if NUMBER not in attributes or (trial.state == TrialState.FAIL and ROW not in attributes):
        return None
    row = trial_row_from_json(attributes[ROW]) if ROW in attributes else None
    curve = tuple(sorted((step / STEPS, value) for step, value in trial.intermediate_values.items()))
    state = row.state if row else str(trial.state.name).lower()
    if state == "running" and stop_key(attributes[NUMBER]) in study_attributes:
        state = "stopping"
    return TrialView(
        number=attributes[NUMBER],
        state=state,
        parameters=row.parameters if row else attributes.get(PARAMETERS, {}),
        curve=curve,
        value=row.value if row else max((value for _, value in curve), default=None),
        machine_seconds=row.machine_seconds if row else None,
        reason=row.reason if row else None,
    )
