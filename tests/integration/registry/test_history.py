from __future__ import annotations

import pytest

from tasks.registry.history import (
    AliasChange,
    Move,
    MoveState,
    changes_by_hand,
    history,
    record_intent,
    record_outcome,
)
from tasks.tracking.mlflow_runs import Tracker

CHANGES = (AliasChange("previous", None, "1"), AliasChange("champion", "1", "2"))


def make_move(**changed: object) -> Move:
    values: dict[str, object] = {
        "number": 1,
        "kind": "promotion",
        "changes": CHANGES,
        "actor": "ada",
        "reason": "better",
        "decision": "d",
        "at": "2026-01-02T03:04:05+00:00",
        "state": "done",
        **changed,
    }
    return Move(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "ending"), [("done", ""), ("intent", " (not finished)"), ("undone", " (undone)")])
def test_a_move_is_said_in_one_line(state: MoveState, ending: str) -> None:
    assert make_move(state=state).sentence() == (
        "previous → version 1, champion → version 2 (was 1): promotion at 2026-01-02T03:04:05+00:00 by ada, better"
        + ending
    )


def test_a_removal_by_hand_is_said_as_seen() -> None:
    move = make_move(kind="by hand", changes=(AliasChange("champion", "1", None),), reason="")

    assert move.sentence() == "champion taken from version 1: by hand, seen at 2026-01-02T03:04:05+00:00"


def test_changes_that_nobody_recorded_are_those_by_hand() -> None:
    moves = [make_move()]

    assert changes_by_hand(moves, {"previous": "1", "champion": "2"}) == []
    assert changes_by_hand(moves, {"champion": "3", "own": "4"}) == [
        AliasChange("champion", "2", "3"),
        AliasChange("own", None, "4"),
        AliasChange("previous", "1", None),
    ]


def test_a_model_that_is_not_there_has_no_history(tracker: Tracker) -> None:
    assert history(tracker, "nothing") == []


def test_moves_are_numbered_and_keep_what_was_recorded(tracker: Tracker) -> None:
    tracker.client.create_registered_model("icd10")
    intents = [
        record_intent(
            tracker, "icd10", kind="promotion", changes=CHANGES, actor="Ada É", reason="b, c", decision=f"d{number}"
        )
        for number in range(11)
    ]

    ended = record_outcome(tracker, "icd10", move=intents[10], state="undone")

    assert [move.number for move in intents] == list(range(1, 12))
    assert history(tracker, "icd10") == [*intents[:10], ended]
