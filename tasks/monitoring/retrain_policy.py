"""When to retrain: a pure decision over facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.schema import Retraining
from tasks.storage.durable import digest_of

_NOT_IN_THE_KEY = ("description", "retraining", "base")
"""Sections of the recipe that change no model; the base counts by its digest."""


@dataclass(frozen=True)
class Reference:
    """What the recipe was trained on: for the champion, else for the newest finished run."""

    name: str
    """As it is told, such as `version 3`."""
    source: str | None
    """Digest of the data's source; None: not known any more."""
    base: str | None
    """Digest of the base model; None: not known any more."""
    recipe: str | None
    """Digest of the recipe, without what changes no model; None: not known any more."""


@dataclass(frozen=True)
class RetrainFacts:
    """All that the decision hangs on, gathered without touching a model."""

    source: str
    """Digest of the data's source as it is now."""
    base: str
    """Digest of the base model as it is now."""
    recipe: str
    """Digest of the recipe, see `recipe_key`."""
    reference: Reference | None
    """None: nothing was trained yet."""
    champion_age_days: float | None
    """Since the champion was registered; None: there is no champion."""
    trained_days_ago: float | None
    """Since the newest finished run with just this data, base model and recipe ended; None: there is none."""
    retrained_hours_ago: float | None
    """Since the newest finished retrain of the recipe ended; None: there was none."""
    forced: bool
    asked: str
    """Why somebody asks; empty: a schedule does."""


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to retrain, and why."""

    go: bool
    reasons: tuple[str, ...]
    key: str
    """What would be trained: equal keys are trained once, however often a retrain is triggered."""
    anew: bool = False
    """Whether what was trained already is trained again, with a fresh seed: for age and by force."""

    @property
    def sentence(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def should_retrain(facts: RetrainFacts, policy: Retraining) -> RetrainDecision:
    """Decide whether a retrain is worth its time; every reason to go is told, or the first one not to.

    A reason to go is data, a base model or a recipe that differs from what the champion (else the newest finished run)
    was trained on, a champion over its age, somebody who asks, or force. Against it stand a training of just the same
    that was finished before, since it would give the same model, and the cool-down. Force goes over both. Age goes
    over the first, but only once in `max_age_days`. Both train anew, with a fresh seed, even where nothing changed.
    """
    key = idempotency_key(facts)
    reasons = _reasons_to_go(facts, policy)
    against = _reason_against(facts, policy, reasons)
    if against:
        return RetrainDecision(False, (against,), key)
    return RetrainDecision(True, reasons, key, anew=facts.forced or _is_over_age(facts, policy))


def should_ask_again(facts: RetrainFacts, policy: Retraining, *, told_hours_ago: float | None) -> bool:
    """Decide whether a watcher asks for a retrain that is due, so that none is lost.

    It asks where nobody was told, where the last retrain or its cool-down ended after that (so that the telling was
    skipped, or something is due since), and once in `retry_hours` where nothing came of it. The first training of a
    recipe is a person's, unless the watcher told of a change before.

    Args:
        facts: as for `should_retrain`; nobody asks and nothing is forced.
        policy: the recipe's.
        told_hours_ago: since the watcher told of a change, or asked; None: never.
    """
    if not should_retrain(facts, policy).go:
        return False
    if told_hours_ago is None:
        return facts.reference is not None
    if facts.retrained_hours_ago is not None and told_hours_ago > facts.retrained_hours_ago - policy.cool_down_hours:
        return True
    return told_hours_ago >= policy.retry_hours


def idempotency_key(facts: RetrainFacts) -> str:
    """Hash of data, base model and recipe."""
    return training_key_of(source=facts.source, base=facts.base, recipe=facts.recipe)


def training_key_of(*, source: str, base: str, recipe: str) -> str:
    """Hash of the digests of what is trained."""
    return digest_of({"source": source, "base": base, "recipe": recipe})


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """Digest of a resolved recipe (`Recipe.model_dump(mode="json")`), without what changes no model."""
    return digest_of({section: value for section, value in recipe.items() if section not in _NOT_IN_THE_KEY})


def _reasons_to_go(facts: RetrainFacts, policy: Retraining) -> tuple[str, ...]:
    known = facts.reference
    reasons = []
    if facts.forced:
        reasons.append("it is forced")
    if facts.asked:
        reasons.append(f"it is asked for: {facts.asked}")
    if known is None:
        return (*reasons, "nothing was trained yet")
    if facts.source != known.source:
        reasons.append(_change("the data", known.source, facts.source, known.name))
    if facts.base != known.base:
        reasons.append(_change("the base model", known.base, facts.base, known.name))
    if facts.recipe != known.recipe:
        reasons.append(_change("the recipe", known.recipe, facts.recipe, known.name))
    if _is_over_age(facts, policy):
        reasons.append(
            f"the champion is {facts.champion_age_days:.1f} days old, "
            f"more than retraining.max_age_days ({policy.max_age_days:g})"
        )
    return tuple(reasons)


def _reason_against(facts: RetrainFacts, policy: Retraining, reasons: tuple[str, ...]) -> str | None:
    if not reasons:
        assert facts.reference is not None
        return f"nothing changed since {facts.reference.name} was trained"
    if facts.forced:
        return None
    if facts.trained_days_ago is not None and not _is_over_age(facts, policy):
        return (
            "just this data, base model and recipe were trained before (the run ended "
            f"{_ago(24 * facts.trained_days_ago)}); the same would come out"
        )
    if facts.retrained_hours_ago is not None and facts.retrained_hours_ago < policy.cool_down_hours:
        return (
            f"the last retrain ended {_ago(facts.retrained_hours_ago)}, and retraining.cool_down_hours is "
            f"{policy.cool_down_hours:g}; the next trigger after that goes ({'; '.join(reasons)})"
        )
    return None


def _is_over_age(facts: RetrainFacts, policy: Retraining) -> bool:
    """Whether the champion is over its age and was not trained again for that reason within as many days."""
    if policy.max_age_days is None or facts.champion_age_days is None:
        return False
    ages = [facts.champion_age_days, *([] if facts.trained_days_ago is None else [facts.trained_days_ago])]
    return min(ages) > policy.max_age_days


def _change(what: str, before: str | None, now: str, since: str) -> str:
    if before is None:
        return f"it is not known what {what.removeprefix('the ')} {since} was trained on"
    return f"{what} changed since {since} was trained ({before[:8]} → {now[:8]})"


def _ago(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes ago"
    return f"{hours:.1f} hours ago" if hours < 48 else f"{hours / 24:.1f} days ago"
