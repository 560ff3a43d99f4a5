"""What a retrain found, as Markdown for Prefect and MLflow; every text out of data is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.monitoring.data_changes import DataChanges
from tasks.monitoring.retrain_policy import RetrainDecision
from tasks.monitoring.slice_changes import SliceChange
from tasks.tracking.shown_text import escaped, markdown_table

_ROWS_SHOWN = 30


def decision_as_markdown(recipe_name: str, decision: RetrainDecision) -> str:
    """Whether a retrain goes, and why."""
    outcome = "retrain" if decision.go else "skipped"
    reasons = "\n".join(f"- {escaped(reason, width=1200)}" for reason in decision.reasons)
    return f"**{escaped(recipe_name)}: {outcome}**\n\n{reasons}\n\nKey: `{decision.key[:16]}`\n"


def data_changes_as_markdown(reference: str, changes: DataChanges) -> str:
    """What the data gained and lost since the reference was trained."""
    rows = [(share.label, f"{share.before:.1%}", f"{share.now:.1%}") for share in changes.labels[:_ROWS_SHOWN]]
    table = markdown_table(("label", "before", "now"), rows) if rows else ""
    return f"Compared with the data of {escaped(reference)}: {escaped(changes.sentence)}\n\n{table}"


def slice_changes_as_markdown(champion: str, changes: Sequence[SliceChange]) -> str:
    """Old champion and new candidate by slice, the largest loss first."""
    rows = [
        (
            f"{row.slice} {row.value}", row.n, f"{row.champion:.3f}", f"{row.candidate:.3f}",
            f"{row.difference:+.3f}" + (" (blocks)" if row.blocks else ""),
        )
        for row in changes[:_ROWS_SHOWN]
    ]  # fmt: skip
    return markdown_table(("slice", "n", champion, "candidate", "difference"), rows)
