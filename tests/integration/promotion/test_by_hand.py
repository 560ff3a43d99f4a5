"""Moves that a person asks for say what they pass over, and a request that leads nowhere says what there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from configs.errors import RegistryError
from configs.settings import Settings, settings_from
from tasks.promotion.alias_moves import DECISION
from tasks.promotion.by_hand import history_lines, promote_by_hand, rollback_by_hand
from tasks.tracking.mlflow_runs import Tracker


@pytest.fixture
def settings(tracker: Tracker) -> Settings:
    """An installation with a version that was refused, and one that cleared its gates."""
    tracker.client.create_registered_model("icd10")
    refused = {DECISION: "refuse", "burnish.reasons": "slices: surely worse in label 'x'"}
    for tags in (refused, {DECISION: "promote"}):
        tracker.client.create_model_version("icd10", (tracker.home / "artifacts").as_uri(), tags=tags)
    return settings_from({"BURNISH_HOME": str(tracker.home)}, project_root=tracker.home)


def test_a_promotion_past_the_gates_works_and_says_which_had_refused(settings: Settings) -> None:
    said = promote_by_hand(settings, "icd10/1", reason="signed off", actor="ada")

    assert "champion → version 1" in said
    assert "It had been refused: slices: surely worse in label 'x'" in said
    assert "signed off (by hand, though its gates had refused it)" in history_lines(settings, "icd10")[-1]


def test_a_promotion_of_what_cleared_its_gates_has_nothing_to_add(settings: Settings) -> None:
    assert "refused" not in promote_by_hand(settings, "icd10/2", reason="sooner", actor="ada")


def test_a_promotion_without_a_version_asks_for_one(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="as icd10/VERSION; 'icd10' has versions 2, 1"):
        promote_by_hand(settings, "icd10", reason="why", actor="ada")


@pytest.mark.parametrize(
    "ask",
    [
        lambda settings: promote_by_hand(settings, "nothing/1", reason="why", actor="ada"),
        lambda settings: promote_by_hand(settings, "nothing", reason="why", actor="ada"),
        lambda settings: rollback_by_hand(settings, "nothing", reason="why", actor="ada"),
        lambda settings: history_lines(settings, "nothing"),
    ],
)
def test_an_unknown_model_gets_one_message_everywhere(settings: Settings, ask: Callable[[Settings], object]) -> None:
    with pytest.raises(
        RegistryError, match=r"no registered model 'nothing'; `burnish finetune` registers one .*; registered: icd10$"
    ):
        ask(settings)
