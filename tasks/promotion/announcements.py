"""Tell Prefect what became of a model: each move of an alias, and each candidate that was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.registry.history import Move, history, record_announcement
from tasks.tracking.prefect_events import MODEL_PROMOTED, MODEL_REJECTED, emit_model_event

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker


def announce_moves(tracker: Tracker, name: str) -> list[Move]:
    """Announce every move that is done and of which nobody heard, whoever made or noticed it; return those.

    Without a server that takes them, they wait for whoever looks next. A move told twice is one event.

    Args:
        tracker: the door to MLflow.
        name: registered model.
    """
    announced = []
    for move in history(tracker, name):
        if move.state != "done" or move.announced:
            continue
        if not _announce(name, move):
            break
        record_announcement(tracker, name, move=move)
        announced.append(move)
    return announced


def _announce(name: str, move: Move) -> bool:
    """Emit what a recorded move made champion or challenger; False where no server took it."""
    taken = True
    for change in move.changes:
        if change.alias in ("champion", "challenger") and change.after is not None:
            what = {"version": change.after, "alias": change.alias, "before": change.before}
            payload = {**what, "kind": move.kind, "at": move.at}
            occasion = f"{change.alias} {move.number} {move.at}"
            taken = taken and emit_model_event(MODEL_PROMOTED, name, occasion=occasion, payload=payload) is not None
    return taken


def announce_rejection(name: str, version: str, *, decision: str, champion: str | None, gates: Sequence[str]) -> None:
    """Emit that a candidate earned no alias. The reasons stay in MLflow, since they name slices of the data.

    Args:
        name: registered model.
        version: the candidate's.
        decision: identity of the decision, with the run that it stands on.
        champion: the version that it was compared with.
        gates: names of those that it did not clear.
    """
    payload = {"version": version, "champion": champion, "gates": list(gates)}
    emit_model_event(MODEL_REJECTED, name, occasion=decision, payload=payload)
