from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from configs.errors import RegistryError
from tasks.promotion import alias_moves
from tasks.promotion.alias_moves import CLEARED, DECISION, alias_history, move_alias, rollback, unreviewed
from tasks.registry.history import AliasChange, Move, history
from tasks.registry.mlflow_versions import REJECTED, aliases_of, tag_version
from tasks.tracking.mlflow_runs import Tracker

PROJECT = Path(__file__).parents[3]
NAME = "icd10"
POINTS = [
    "move:before-intent",
    "move:after-intent",
    "move:previous-set",
    "move:champion-set",
    "move:before-outcome",
    "move:after-outcome",
]
PROMOTE = """
import sys
from pathlib import Path
from tasks.promotion.alias_moves import move_alias
from tasks.tracking.mlflow_runs import Tracker
home = Path(sys.argv[1])
move_alias(
    Tracker(f"sqlite:///{home / 'mlflow.db'}", home), "icd10",
    alias="champion", version="2", beaten_champion="1", actor="ada", reason="better", decision="d2",
)
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and the kernel would free the lock as leaving the block does."""


@pytest.fixture
def models(tracker: Tracker) -> Tracker:
    """Four versions, of which the first is the champion."""
    tracker.client.create_registered_model(NAME)
    for _ in range(4):
        tracker.client.create_model_version(NAME, (tracker.home / "artifacts").as_uri())
    promote(tracker, "1", beaten=None)
    return tracker


def promote(
    tracker: Tracker, version: str, *, beaten: str | None, alias: Any = "champion", decision: str = ""
) -> Move | None:
    return move_alias(
        tracker,
        NAME,
        alias=alias,
        version=version,
        beaten_champion=beaten,
        actor="ada",
        reason="better",
        decision=decision or f"d{version}",
    )


def by_hand(tracker: Tracker, alias: str, version: str | None) -> None:
    """What a person does in the MLflow UI."""
    if version is None:
        tracker.client.delete_registered_model_alias(NAME, alias)
    else:
        tracker.client.set_registered_model_alias(NAME, alias, version)


def kill_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def reach(reached: str) -> None:
        if reached == point:
            raise Killed

    monkeypatch.setattr("tasks.promotion.alias_moves.reach", reach)
    monkeypatch.setattr("tasks.registry.history.reach", reach)


def test_the_first_champion_beats_nobody(models: Tracker) -> None:
    assert aliases_of(models, NAME) == {"champion": "1"}


def test_the_old_champion_becomes_previous(models: Tracker) -> None:
    promote(models, "2", beaten="1")
    promote(models, "3", beaten="2")

    assert aliases_of(models, NAME) == {"champion": "3", "previous": "2"}


def test_a_challenger_leaves_the_champion_in_place(models: Tracker) -> None:
    promote(models, "2", beaten="1", alias="challenger")

    assert aliases_of(models, NAME) == {"champion": "1", "challenger": "2"}


def test_a_challenger_that_becomes_champion_is_no_challenger_any_more(models: Tracker) -> None:
    promote(models, "2", beaten="1", alias="challenger", decision="first")

    promote(models, "2", beaten="1", decision="second")

    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_a_decision_is_void_when_the_champion_changed_meanwhile(models: Tracker, alias: str) -> None:
    promote(models, "2", beaten="1")

    with pytest.raises(RegistryError, match="is void: it was compared with champion 1, but now there is champion 2"):
        promote(models, "3", beaten="1", alias=alias)

    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


def test_a_decision_against_nobody_is_void_when_there_is_a_champion(models: Tracker) -> None:
    with pytest.raises(RegistryError, match="compared with no champion, but now there is champion 1"):
        promote(models, "2", beaten=None)


def test_a_decision_is_void_when_its_champion_was_taken_away_by_hand(models: Tracker) -> None:
    by_hand(models, "champion", None)

    with pytest.raises(RegistryError, match="compared with champion 1, but now there is no champion"):
        promote(models, "2", beaten="1")


def test_a_rejected_version_gets_no_alias(models: Tracker) -> None:
    tag_version(models, NAME, version="2", tags={REJECTED: "parity failed"})

    with pytest.raises(RegistryError, match=r"was rejected \(parity failed\)"):
        promote(models, "2", beaten="1")

    assert aliases_of(models, NAME) == {"champion": "1"}


def test_a_version_that_is_not_there_gets_no_alias(models: Tracker) -> None:
    with pytest.raises(RegistryError, match="no version '9'"):
        promote(models, "9", beaten="1")

    assert [move.state for move in history(models, NAME)] == ["done"]


@pytest.mark.parametrize("name", ["../icd10", "ICD", "", "a" * 64, "a'b"])
def test_a_name_that_can_not_be_a_file_is_refused(models: Tracker, name: str) -> None:
    with pytest.raises(RegistryError, match="a model's name has"):
        rollback(models, name, actor="ada", reason="worse")


def test_the_same_decision_moves_once_even_after_a_rollback(models: Tracker) -> None:
    first = promote(models, "2", beaten="1", decision="same")
    rollback(models, NAME, actor="ada", reason="worse")

    again = promote(models, "2", beaten="1", decision="same")

    assert again == first
    assert aliases_of(models, NAME)["champion"] == "1"


@pytest.mark.parametrize("how", ["rollback", "by hand", "taken away", "a person's promotion"])
def test_the_flow_never_gives_champion_back_to_whom_a_person_took_it_from(models: Tracker, how: str) -> None:
    promote(models, "2", beaten="1")
    if how == "rollback":
        rollback(models, NAME, actor="bob", reason="harmful answers")
    elif how == "a person's promotion":
        move_alias(models, NAME, alias="champion", version="1", beaten_champion="2", actor="bob", reason="trusted")
    else:
        by_hand(models, "champion", "1" if how == "by hand" else None)
    reigning = aliases_of(models, NAME).get("champion")

    with pytest.raises(RegistryError, match=r"a person took champion from version 2 .* `burnish promote icd10/2"):
        promote(models, "2", beaten=reigning, decision="d2 after an upgrade")

    assert aliases_of(models, NAME).get("champion") == reigning


def test_a_person_gives_champion_back_after_a_rollback(models: Tracker) -> None:
    promote(models, "2", beaten="1")
    rollback(models, NAME, actor="bob", reason="harmful answers")
    move_alias(models, NAME, alias="champion", version="2", beaten_champion="1", actor="bob", reason="harmless")
    promote(models, "3", beaten="2")

    promote(models, "2", beaten="3", decision="d2 after an upgrade")

    assert aliases_of(models, NAME) == {"champion": "2", "previous": "3"}


def test_a_version_that_lost_to_a_better_one_can_win_again(models: Tracker) -> None:
    promote(models, "2", beaten="1")

    promote(models, "1", beaten="2", decision="d1 on new data")

    assert aliases_of(models, NAME) == {"champion": "1", "previous": "2"}


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_a_later_decision_on_the_champion_moves_nothing(models: Tracker, alias: str) -> None:
    promote(models, "2", beaten="1")

    again = promote(models, "2", beaten="1", alias=alias, decision="d2 with another gate")

    assert again is None
    assert len(history(models, NAME)) == 2
    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


def test_a_rollback_swaps_champion_and_previous_and_can_be_taken_back(models: Tracker) -> None:
    promote(models, "2", beaten="1")

    rollback(models, NAME, actor="ada", reason="worse")
    rolled_back = aliases_of(models, NAME)
    rollback(models, NAME, actor="ada", reason="not worse")

    assert rolled_back == {"champion": "1", "previous": "2"}
    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


def test_a_rollback_brings_a_champion_back_that_was_taken_away_by_hand(models: Tracker) -> None:
    promote(models, "2", beaten="1")
    by_hand(models, "champion", None)

    rollback(models, NAME, actor="ada", reason="none left")

    assert aliases_of(models, NAME) == {"champion": "1"}


def test_a_rollback_without_a_previous_champion_is_refused(models: Tracker) -> None:
    with pytest.raises(
        RegistryError,
        match=r"no alias 'previous' to roll back to, since no .*; it has versions 4, 3, 2, 1 \(champion\)",
    ):
        rollback(models, NAME, actor="ada", reason="worse")


def test_every_move_is_on_record_with_actor_reason_and_decision(models: Tracker) -> None:
    promote(models, "2", beaten="1")
    rollback(models, NAME, actor="bob", reason="worse")

    moves = alias_history(models, NAME)

    assert [(move.number, move.kind, move.actor, move.reason, move.decision, move.state) for move in moves] == [
        (1, "promotion", "ada", "better", "d1", "done"),
        (2, "promotion", "ada", "better", "d2", "done"),
        (3, "rollback", "bob", "worse", "", "done"),
    ]
    assert moves[1].changes == (AliasChange("previous", None, "1"), AliasChange("champion", "1", "2"))


def test_a_move_by_hand_is_respected_and_on_record_once(models: Tracker) -> None:
    by_hand(models, "champion", "3")

    moves = alias_history(models, NAME)
    again = alias_history(models, NAME)

    assert again == moves
    assert moves[-1].kind == "by hand"
    assert moves[-1].changes == (AliasChange("champion", "1", "3"), AliasChange("previous", None, "1"))
    assert moves[-1].sentence() == (
        f"champion → version 3 (was 1), previous → version 1: by hand, seen at {moves[-1].at}, "
        "unreviewed: version 3 never cleared its gates"
    )
    assert aliases_of(models, NAME) == {"champion": "3", "previous": "1"}


def test_a_move_by_hand_can_be_rolled_back_like_any_other(models: Tracker) -> None:
    by_hand(models, "champion", "3")

    rollback(models, NAME, actor="ada", reason="a mistake")

    assert aliases_of(models, NAME) == {"champion": "1", "previous": "3"}


def test_an_alias_is_unreviewed_until_its_version_cleared_its_gates_or_a_reason_was_given(models: Tracker) -> None:
    by_hand(models, "champion", "2")
    behind_our_back = unreviewed(models, NAME)
    models.client.set_model_version_tag(NAME, "2", DECISION, CLEARED)
    cleared = unreviewed(models, NAME)
    by_hand(models, "challenger", "4")
    promote(models, "3", beaten="2")

    assert behind_our_back == {"champion": "2"}
    assert cleared == {}
    assert unreviewed(models, NAME) == {"challenger": "4"}


def test_an_alias_taken_away_by_hand_and_one_of_their_own_are_noticed(models: Tracker) -> None:
    by_hand(models, "champion", None)
    by_hand(models, "canary", "4")

    [move] = alias_history(models, NAME)[1:]

    assert move.changes == (AliasChange("canary", None, "4"), AliasChange("champion", "1", None))


def test_a_promotion_notices_first_what_was_moved_by_hand(models: Tracker) -> None:
    by_hand(models, "champion", "2")

    promote(models, "3", beaten="2")

    assert [move.kind for move in history(models, NAME)] == ["promotion", "by hand", "promotion"]
    assert aliases_of(models, NAME) == {"champion": "3", "previous": "2"}


@pytest.mark.parametrize("point", POINTS)
def test_the_same_command_ends_a_promotion_that_was_killed_anywhere(
    models: Tracker, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, point)
        promote(models, "2", beaten="1")

    promote(models, "2", beaten="1")

    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}
    assert [(move.decision, move.state) for move in history(models, NAME)] == [("d1", "done"), ("d2", "done")]


@pytest.mark.parametrize("point", POINTS[1:])
def test_any_next_command_ends_a_promotion_that_was_killed(
    models: Tracker, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, point)
        promote(models, "2", beaten="1")

    moves = alias_history(models, NAME)

    assert [move.state for move in moves] == ["done", "done"]
    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


@pytest.mark.parametrize("point", ["move:after-intent", "move:previous-set"])
def test_a_killed_promotion_is_undone_when_the_champion_was_moved_by_hand_since(
    models: Tracker, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, point)
        promote(models, "2", beaten="1")
    by_hand(models, "champion", "4")

    moves = alias_history(models, NAME)

    assert [(move.kind, move.state) for move in moves] == [
        ("promotion", "done"),
        ("promotion", "undone"),
        ("by hand", "done"),
    ]
    assert aliases_of(models, NAME) == {"champion": "4", "previous": "1"}


def test_a_killed_promotion_is_undone_when_its_version_was_deleted_since(
    models: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, "move:previous-set")
        promote(models, "2", beaten="1")
    models.client.delete_model_version(NAME, "2")

    ended = alias_history(models, NAME)[-1]

    assert ended.state == "undone"
    assert aliases_of(models, NAME) == {"champion": "1"}


def test_a_killed_rollback_is_ended_by_the_next_command(models: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(models, "2", beaten="1")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, "move:previous-set")
        rollback(models, NAME, actor="ada", reason="worse")

    alias_history(models, NAME)

    assert aliases_of(models, NAME) == {"champion": "1", "previous": "2"}


def test_a_move_by_hand_in_the_middle_of_a_promotion_wins(models: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    def reach(point: str) -> None:
        if point == "move:previous-set":
            by_hand(models, "champion", "4")

    monkeypatch.setattr("tasks.promotion.alias_moves.reach", reach)

    with pytest.raises(RegistryError, match="moved by hand, or a version deleted, during this promotion"):
        promote(models, "2", beaten="1")

    assert aliases_of(models, NAME) == {"champion": "4"}


def test_a_real_kill_frees_the_lock_and_leaves_an_intent(models: Tracker) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROMOTE, str(models.home)],
        cwd=PROJECT,
        env={**os.environ, "BURNISH_KILL_AT": "move:previous-set"},
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert history(models, NAME)[-1].state == "intent"

    ended = alias_history(models, NAME)[-1]

    assert ended.state == "done"
    assert aliases_of(models, NAME) == {"champion": "2", "previous": "1"}


def test_two_promotions_at_once_can_not_both_win(models: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    both_have_checked = threading.Barrier(2)
    record_intent = alias_moves.record_intent

    def wait_for_the_other(*arguments: Any, **keywords: Any) -> Move:
        with contextlib.suppress(threading.BrokenBarrierError):  # the lock keeps the other away
            both_have_checked.wait(timeout=1)
        return record_intent(*arguments, **keywords)

    def attempt(version: str) -> str:
        try:
            promote(models, version, beaten="1")
        except RegistryError as error:
            return str(error)
        return "won"

    monkeypatch.setattr(alias_moves, "record_intent", wait_for_the_other)
    with ThreadPoolExecutor(2) as threads:
        outcomes = sorted(threads.map(attempt, ["2", "3"]))

    assert "is void" in outcomes[0]
    assert outcomes[1] == "won"
    assert aliases_of(models, NAME)["previous"] == "1"
    assert [move.kind for move in history(models, NAME)] == ["promotion", "promotion"]


def test_a_lock_that_is_not_freed_is_answered_with_what_to_do(models: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_moves, "_LOCK_TIMEOUT_SECONDS", 0.05)

    with alias_moves._locked(models, NAME), pytest.raises(RegistryError, match=f"by process {os.getpid()} on"):
        rollback(models, NAME, actor="ada", reason="worse")


def test_another_model_is_not_held_up(models: Tracker) -> None:
    with alias_moves._locked(models, NAME):
        assert alias_history(models, "other") == []


def test_a_damaged_record_is_named(models: Tracker) -> None:
    models.client.set_registered_model_tag(NAME, "burnish.move.000002", "{")

    with pytest.raises(RegistryError, match=r"tag 'burnish\.move\.000002' of model 'icd10' is not a move"):
        alias_history(models, NAME)
