"""Tell Prefect what became of a model: each move of an alias, and each candidate that was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.tracking.prefect_events import MODEL_PROMOTED, MODEL_REJECTED, emit_model_event

if TYPE_CHECKING:
    from tasks.registry.history import Move


def announce_move(name: str, move: Move) -> None:
    """Emit what a recorded move made champion or challenger; a move told twice is one event.

    Args:
        name: registered model.
        move: from its history.
    """
    for change in move.changes:
        if change.alias in ("champion", "challenger") and change.after is not None:
            payload = {"version": change.after, "alias": change.alias, "before": change.before, "kind": move.kind}
            emit_model_event(MODEL_PROMOTED, name, occasion=f"{change.alias} {move.number} {move.at}", payload=payload)


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
