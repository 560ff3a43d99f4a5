"""The study over prompts: which wording, examples, order of examples and decoding, within a budget of trials.

A study in Optuna's database, so that its plots and `optuna-dashboard` show it. What is drawn depends on the seed and on
the prompts scored so far, and scores are on record before they are told, so a killed study goes on as it would have.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from tasks.baselines.prompt_options import RECIPE_TEMPLATE
from tasks.inference.options import Option
from tasks.storage.durable import digest_of
from tasks.storage.faults import reach
from tasks.storage.optuna_database import database_errors, open_storage

log = logging.getLogger("burnish")

_PROMPT = "prompt"
"""User attribute of a trial: the name of the option that it scored."""
_STARTUP_TRIALS = 4
"""Trials before TPE takes over from random draws."""

Axes = tuple[tuple[str, str | int], ...]
"""What distinguishes a prompt from the others: names and values to search over, always in the same order."""


def study_prompts(
    prompts: Sequence[Option],
    *,
    wordings: Mapping[str, Any],
    score: Callable[[Option], float],
    trials: int,
    name: str,
    url: str,
    seed: int,
) -> dict[str, float]:
    """Score at most `trials` of the prompts; return the scores by name.

    The first one of each kind is tried first; then TPE (Bergstra et al. 2011) draws the others, each once.

    Args:
        prompts: every prompt that the recipe allows.
        wordings: their templates by name.
        score: returns a prompt's mean score on validation.
        trials: the budget.
        name: of the study in the database.
        url: of the database.
        seed: of the draws.

    Raises:
        ServerError: the database failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by_axes = {prompt_axes(option, wordings): option for option in prompts}
    with database_errors(url):
        storage = open_storage(url)
        try:
            study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
            for interrupted in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(interrupted.number, state=TrialState.FAIL)
            done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[:trials]
            scores = {trial.user_attrs[_PROMPT]: float(trial.value) for trial in done}
            while len(scores) < min(trials, len(by_axes)):
                trial, option = _draw(study, by_axes, scores, seed=seed)
                scores[option.name] = score(option)
                log.info("  %d of %d: %s %.3f", len(scores), trials, option.name, scores[option.name])
                trial.set_user_attr(_PROMPT, option.name)
                study.tell(trial, scores[option.name])
                reach("prompts:told")
            left_out = [option.name for option in by_axes.values() if option.name not in scores]
            if left_out:
                log.info("  not tried within the budget: %d prompts, such as %s", len(left_out), left_out[-1])
        finally:
            storage.remove_session()
            storage.engine.dispose()
    return scores


def prompt_axes(option: Option, wordings: Mapping[str, Any]) -> Axes:
    """Return the values by which a prompt is searched; the order of examples is one where there are several."""
    if option.first is not None:
        return (("examples", option.name.removesuffix(" (label scoring)")), ("decoding", option.decoding))
    worded = next((name for name, template in wordings.items() if template == option.template), RECIPE_TEMPLATE)
    examples = f"{option.shot_strategy}-{option.shots}" if option.shots else "none"
    order: Axes = ((f"order of {option.shots}", option.shot_order),) if option.shots > 1 else ()  # fewer have fewer
    return (("examples", examples), *order, ("template", worded), ("decoding", option.decoding))


def _draw(
    study: optuna.Study, by_axes: Mapping[Axes, Option], scores: Mapping[str, float], *, seed: int
) -> tuple[optuna.Trial, Option]:
    """Begin a trial of a prompt that was not scored yet."""
    untried = [axes for axes, option in by_axes.items() if option.name not in scores]
    tried = {_kind(option) for option in by_axes.values() if option.name in scores}
    new = next((axes for axes in untried if _kind(by_axes[axes]) not in tried), None)
    if new is not None and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(new))
        reach("prompts:enqueued")
    study.sampler = _sampler(int(digest_of(["prompts", seed, len(scores)])[:8], 16))
    trial = study.ask()
    drawn = _suggest(trial, by_axes)
    if drawn not in untried:  # TPE comes back to what is good
        study.tell(trial, state=TrialState.FAIL)
        study.enqueue_trial(dict(_nearest(drawn, untried)))
        reach("prompts:enqueued")
        trial = study.ask()
        drawn = _suggest(trial, by_axes)
    reach("prompts:drawn")
    return trial, by_axes[drawn]


def _suggest(trial: optuna.Trial, by_axes: Mapping[Axes, Option]) -> Axes:
    """Draw value after value; after the examples, what follows is what prompts with such examples have."""
    left = list(by_axes)
    drawn: Axes = ()
    while len(drawn) < len(left[0]):
        axis = left[0][len(drawn)][0]
        every = list(dict.fromkeys(value for axes in by_axes for name, value in axes if name == axis))
        drawn = (*drawn, (axis, trial.suggest_categorical(axis, every)))
        left = [axes for axes in left if axes[: len(drawn)] == drawn]
    return drawn


def _kind(option: Option) -> tuple[object, ...]:
    """Zero-shot, each way to pick examples, each chain."""
    return option.shot_strategy, option.template if option.first else None, option.first


def _nearest(drawn: Axes, untried: Sequence[Axes]) -> Axes:
    """The untried prompt that shares most with the one drawn; among equals the first."""
    return max(untried, key=lambda axes: len(set(drawn) & set(axes)))


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # grouped, since only some prompts have an order
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True, group=True)
