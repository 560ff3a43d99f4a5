from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from configs.schema import Retraining
from tasks.monitoring.retrain_policy import (
    Reference,
    RetrainFacts,
    idempotency_key,
    recipe_key,
    should_ask_again,
    should_retrain,
)

CHAMPION = Reference("version 3", source="s1", base="b1", recipe="r1")
UNCHANGED = RetrainFacts(
    source="s1", base="b1", recipe="r1", reference=CHAMPION,
    champion_age_days=10.0, trained_days_ago=10.0, retrained_hours_ago=240.0, forced=False, asked="",
)  # fmt: skip
NEW_DATA = {"source": "s2", "trained_days_ago": None}
POLICY = Retraining(max_age_days=30, cool_down_hours=6)


def facts(**changed: Any) -> RetrainFacts:
    return dataclasses.replace(UNCHANGED, **changed)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (NEW_DATA, "the data changed since version 3 was trained (s1 → s2)"),
        ({"base": "b2", "trained_days_ago": None}, "the base model changed"),
        ({"recipe": "r2", "trained_days_ago": None}, "the recipe changed"),
        ({"reference": None, "trained_days_ago": None, "retrained_hours_ago": None}, "nothing was trained yet"),
        ({"champion_age_days": 31.0, "trained_days_ago": 31.0}, "the champion is 31.0 days old"),
        ({"champion_age_days": 31.0, "trained_days_ago": None}, "more than retraining.max_age_days (30)"),
        ({"asked": "drift", "trained_days_ago": None}, "it is asked for: drift"),
        ({"forced": True}, "it is forced"),
        ({"forced": True, "retrained_hours_ago": 0.1, **NEW_DATA}, "the data changed"),
        ({"reference": dataclasses.replace(CHAMPION, source=None), "trained_days_ago": None}, "it is not known"),
    ],
)
def test_each_reason_to_go_is_told(changed: dict[str, Any], told: str) -> None:
    decision = should_retrain(facts(**changed), POLICY)

    assert decision.go
    assert told in decision.sentence


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "nothing changed since version 3 was trained"),
        ({"trained_days_ago": None}, "nothing changed"),
        ({"source": "s2", "trained_days_ago": 0.5}, "were trained before (the run ended 12.0 hours ago)"),
        ({"asked": "drift"}, "were trained before"),
        ({**NEW_DATA, "retrained_hours_ago": 0.5}, "the last retrain ended 30 minutes ago"),
        ({**NEW_DATA, "retrained_hours_ago": 5.0}, "retraining.cool_down_hours is 6"),
        ({"champion_age_days": 31.0, "trained_days_ago": 3.0}, "nothing changed"),
        ({"champion_age_days": 30.0, "trained_days_ago": None}, "nothing changed"),
        ({"champion_age_days": None, "trained_days_ago": 400.0}, "nothing changed"),
    ],
)
def test_each_reason_against_is_told(changed: dict[str, Any], told: str) -> None:
    decision = should_retrain(facts(**changed), POLICY)

    assert not decision.go
    assert told in decision.sentence


def test_every_reason_to_go_is_told_not_only_the_first() -> None:
    decision = should_retrain(facts(source="s2", base="b2", asked="new terms", trained_days_ago=None), POLICY)

    assert len(decision.reasons) == 3


def test_no_age_limit_means_never() -> None:
    old = facts(champion_age_days=4000.0, trained_days_ago=None)

    assert not should_retrain(old, Retraining(max_age_days=None)).go


def test_a_champion_over_its_age_is_trained_again_once_in_that_time() -> None:
    due = facts(champion_age_days=61.0, trained_days_ago=31.0)
    done = facts(champion_age_days=61.0, trained_days_ago=1.0)

    assert should_retrain(due, POLICY).go
    assert not should_retrain(done, POLICY).go


@pytest.mark.parametrize("changed", [{"source": "x"}, {"base": "x"}, {"recipe": "x"}])
def test_the_key_is_of_data_base_and_recipe(changed: dict[str, str]) -> None:
    assert idempotency_key(facts(**changed)) != idempotency_key(UNCHANGED)


def test_the_key_is_the_same_whoever_asks_and_whenever() -> None:
    other = facts(forced=True, asked="again", champion_age_days=None, trained_days_ago=None, reference=None)

    assert idempotency_key(other) == idempotency_key(UNCHANGED)


def test_what_changes_no_model_is_not_part_of_the_recipes_key() -> None:
    recipe = {"seed": 1, "description": "old", "retraining": {"max_age_days": 1}, "base": {"path": "a"}}
    same = {"seed": 1, "description": "new", "retraining": {"max_age_days": 2}, "base": {"path": "b"}}

    assert recipe_key(recipe) == recipe_key(same)
    assert recipe_key({**recipe, "seed": 2}) != recipe_key(recipe)


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        (NEW_DATA, False),
        ({"asked": "drift", "trained_days_ago": None}, False),
        ({"forced": True}, True),
        ({"forced": True, **NEW_DATA}, True),
        ({"champion_age_days": 31.0, "trained_days_ago": 31.0}, True),
        ({"champion_age_days": 31.0, "trained_days_ago": None}, True),
        ({}, False),
    ],
)
def test_age_and_force_train_anew_what_is_equal(changed: dict[str, Any], anew: bool) -> None:
    assert should_retrain(facts(**changed), POLICY).anew is anew


@pytest.mark.parametrize(
    ("changed", "told_hours_ago", "asks"),
    [
        ({}, None, False),  # nothing is due
        ({}, 100.0, False),
        ({**NEW_DATA, "retrained_hours_ago": 5.0}, 4.0, False),  # cools down
        ({**NEW_DATA, "retrained_hours_ago": 6.1}, 4.0, True),  # told while it cooled down, which is over
        ({**NEW_DATA, "retrained_hours_ago": 6.5}, 0.2, False),  # told after that: it may be about to begin
        ({**NEW_DATA, "retrained_hours_ago": 100.0}, 0.2, False),
        ({**NEW_DATA, "retrained_hours_ago": 100.0}, 2.9, False),  # it failed: not again so soon
        ({**NEW_DATA, "retrained_hours_ago": 100.0}, 3.0, True),
        ({**NEW_DATA, "retrained_hours_ago": None}, 2.9, False),
        ({**NEW_DATA, "retrained_hours_ago": None}, 3.0, True),
        (NEW_DATA, None, True),  # nobody was told: a schedule's run was cancelled, say
        ({"base": "b2", "trained_days_ago": None}, None, True),
        ({"champion_age_days": 31.0, "trained_days_ago": 31.0}, None, True),
        ({"source": "s2", "trained_days_ago": 0.5, "retrained_hours_ago": 12.0}, 50.0, False),  # tried and judged
        ({"reference": None, "trained_days_ago": None, "retrained_hours_ago": None}, None, False),
        ({"reference": None, "trained_days_ago": None, "retrained_hours_ago": None}, 3.0, True),
    ],
)
def test_a_retrain_that_is_due_is_asked_for_again_and_without_a_storm(
    changed: dict[str, Any], told_hours_ago: float | None, asks: bool
) -> None:
    policy = Retraining(max_age_days=30, cool_down_hours=6, retry_hours=3)

    assert should_ask_again(facts(**changed), policy, told_hours_ago=told_hours_ago) is asks
