"""The history of alias moves, kept as tags on the registered model, since MLflow keeps none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from configs.errors import RegistryError
from tasks.registry.mlflow_versions import model_tags
from tasks.storage.faults import reach

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

_TAG = "burnish.move."
MoveKind = Literal["promotion", "rollback", "by hand"]
MoveState = Literal["intent", "done", "undone"]


@dataclass(frozen=True)
class AliasChange:
    """One alias that names another version than before; None means no version."""

    alias: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Move:
    """One recorded move of aliases."""

    number: int
    """Running number within the model, from 1."""
    kind: MoveKind
    changes: tuple[AliasChange, ...]
    """In the order in which they are made."""
    actor: str
    reason: str
    decision: str
    """Identity of the flow's decision that asked for it; empty where a person did."""
    at: str
    """When it was begun (by hand: seen), in ISO 8601."""
    state: MoveState
    announced: bool = False
    """Whether a Prefect server took its events."""

    def sentence(self) -> str:
        """Say the move in one line for a person."""
        changes = ", ".join(_change_text(change) for change in self.changes)
        if self.kind == "by hand":
            return f"{changes}: by hand, seen at {self.at}" + (f", {self.reason}" if self.reason else "")
        ending = {"done": "", "intent": " (not finished)", "undone": " (undone)"}[self.state]
        return f"{changes}: {self.kind} at {self.at} by {self.actor}, {self.reason}{ending}"


def record_intent(
    tracker: Tracker,
    name: str,
    *,
    kind: MoveKind,
    changes: Sequence[AliasChange],
    actor: str,
    reason: str,
    decision: str,
) -> Move:
    """Write a move down before any alias is touched. The caller holds the model's lock."""
    number = max((move.number for move in history(tracker, name)), default=0) + 1
    move = Move(number, kind, tuple(changes), actor, reason, decision, _now(), "intent")
    reach("move:before-intent")
    _write(tracker, name, move)
    reach("move:after-intent")
    return move


def record_outcome(tracker: Tracker, name: str, *, move: Move, state: Literal["done", "undone"]) -> Move:
    """Write down how a move ended."""
    ended = dataclasses.replace(move, state=state)
    reach("move:before-outcome")
    _write(tracker, name, ended)
    reach("move:after-outcome")
    return ended


def record_announcement(tracker: Tracker, name: str, *, move: Move) -> None:
    """Write down that the world heard of a move that is done, so that nobody announces it again."""
    reach("move:before-announced")
    _write(tracker, name, dataclasses.replace(move, announced=True))


def history(tracker: Tracker, name: str) -> list[Move]:
    """Return the recorded moves of a model, oldest first; empty where there is no such model."""
    tags = model_tags(tracker, name)
    moves = [_read(name, key, value) for key, value in tags.items() if key.startswith(_TAG)]
    return sorted(moves, key=lambda move: move.number)


def taken_by_a_person(moves: Sequence[Move], version: str) -> Move | None:
    """Return the move by which a person took `champion` away from a version that has not had it since, or None.

    Args:
        moves: the history.
        version: the version.
    """
    taken: Move | None = None
    for move in (move for move in moves if move.state == "done"):
        for change in (change for change in move.changes if change.alias == "champion"):
            if change.after == version:
                taken = None
            elif change.before == version:
                taken = move
    return taken if taken is not None and not taken.decision else None


def changes_by_hand(moves: Sequence[Move], aliases: Mapping[str, str]) -> list[AliasChange]:
    """Return where aliases stand elsewhere than the recorded moves say: changes that nobody recorded.

    Args:
        moves: the history.
        aliases: where the aliases stand.
    """
    expected = _positions(moves)
    return [
        AliasChange(alias, expected.get(alias), aliases.get(alias))
        for alias in sorted({*expected, *aliases})
        if expected.get(alias) != aliases.get(alias)
    ]


def _positions(moves: Sequence[Move]) -> dict[str, str]:
    """Return where the aliases stand after all finished moves."""
    positions: dict[str, str] = {}
    for change in (change for move in moves if move.state == "done" for change in move.changes):
        if change.after is None:
            positions.pop(change.alias, None)
        else:
            positions[change.alias] = change.after
    return positions


def _write(tracker: Tracker, name: str, move: Move) -> None:
    content = json.dumps(dataclasses.asdict(move), sort_keys=True, ensure_ascii=False)
    with tracker.explained(f"record a move of {name!r}"):
        tracker.client.set_registered_model_tag(name, f"{_TAG}{move.number:06d}", content)


def _read(name: str, key: str, value: str) -> Move:
    try:
        content = json.loads(value)
        kept = {"announced": True, **content}  # moves were recorded before announcements were: those are old news
        return Move(**{**kept, "changes": tuple(AliasChange(**change) for change in content["changes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"the tag {key!r} of model {name!r} is not a move that Burnish recorded ({error}); "
            "correct or delete it in the MLflow UI"
        ) from error


def _change_text(change: AliasChange) -> str:
    if change.after is None:
        return f"{change.alias} taken from version {change.before}"
    return f"{change.alias} → version {change.after}" + (f" (was {change.before})" if change.before else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
