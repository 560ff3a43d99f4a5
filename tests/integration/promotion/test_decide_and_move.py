"""What the promote stage leaves in the registry, on a real MLflow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from configs.errors import RegistryError
from tasks.promotion.alias_moves import CLEARED, DECISION, alias_history, rollback, unreviewed
from tasks.promotion.tasks import promote_identity
from tasks.registry.incumbent import COMPARED_WITH
from tasks.registry.mlflow_versions import aliases_of, get_version
from tasks.tracking.mlflow_runs import Tracker
from tests.promotion_stages import Stages, make_stages

NAME = "icd10"


@pytest.fixture
def stages(tracker: Tracker, mlflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for announce in ("announce_moves", "announce_rejection"):  # need a Prefect server
        monkeypatch.setattr(f"tasks.promotion.announcements.{announce}", lambda *args, **keywords: None)
    monkeypatch.setattr("tasks.promotion.tasks.check_lease", lambda name: None)
    return make_stages(tracker, NAME, root=tmp_path)


def test_after_a_rollback_the_decision_is_refused_by_a_veto_and_says_why(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]
    rollback(tracker, NAME, actor="ann", reason="harmful answers")

    later = stages.decide(min_gain=0.01)

    assert not later["promote"]
    assert "ann, harmful answers" in later["reasons"][0]
    assert aliases_of(tracker, NAME) == {"champion": "1", "previous": "2"}
    assert get_version(tracker, NAME, version="2").tags[DECISION] != CLEARED


def test_a_later_gate_that_the_champion_clears_moves_nothing(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]

    assert stages.decide(min_gain=0.01)["promote"]

    assert aliases_of(tracker, NAME) == {"champion": "2", "previous": "1"}
    assert len(alias_history(tracker, NAME)) == 2


def test_a_later_gate_that_refuses_the_champion_is_told_and_leaves_it(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]

    later = stages.decide(min_score=0.99)

    assert not later["promote"]
    assert later["reasons"][-1].startswith("it is the champion by an earlier decision and stays so")
    assert aliases_of(tracker, NAME) == {"champion": "2", "previous": "1"}
    assert unreviewed(tracker, NAME) == {}


def test_a_version_registered_anew_is_decided_anew(stages: Stages) -> None:
    anew = dataclasses.replace(stages.version, outputs={**stages.version.outputs, "version": "3"})

    first, second = (
        promote_identity.fn(stages.run, stages.checked, stages.scores, each) for each in (stages.version, anew)
    )

    assert first != second


def test_a_decision_that_is_void_leaves_a_version_that_is_unreviewed(tracker: Tracker, stages: Stages) -> None:
    tracker.client.delete_registered_model_alias(NAME, "champion")  # in the MLflow UI, after the comparison

    with pytest.raises(RegistryError, match="is void"):
        stages.decide()
    tracker.client.set_registered_model_alias(NAME, "champion", "2")

    assert DECISION not in get_version(tracker, NAME, version="2").tags
    assert unreviewed(tracker, NAME) == {"champion": "2"}


def test_a_kill_between_the_move_and_the_tag_loses_neither(
    tracker: Tracker, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(point: str) -> None:
        assert point == "promote:moved"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tasks.promotion.tasks.reach", killed)
        stages.decide()
    after_the_kill = unreviewed(tracker, NAME)
    compared = get_version(tracker, NAME, version="2").tags[COMPARED_WITH]
    stages.decide()

    assert after_the_kill == {}
    assert compared == "1"  # or the same command would hold another contest
    assert get_version(tracker, NAME, version="2").tags[DECISION] == CLEARED
    assert len(alias_history(tracker, NAME)) == 2
