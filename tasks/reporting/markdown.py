"""The summary as Markdown, for the run's page in MLflow and the artifact in Prefect; texts from data are escaped."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.reporting.summary import RunSummary
from tasks.tracking.shown_text import escaped


def summary_as_markdown(summary: RunSummary) -> str:
    """Verdict, decision, options."""
    rows = "\n".join(
        f"| {escaped(row.name)} | {row.value:.3f} | {row.low:.3f} to {row.high:.3f} | {row.n} |"
        for row in sorted(summary.options, key=lambda option: -option.value)
    )
    metric = summary.options[0].metric if summary.options else "metric"
    reasons = "\n".join(f"- {escaped(str(reason))}" for reason in summary.decision["reasons"])
    beware = "".join(f"Beware: {escaped(warning)}.\n\n" for warning in summary.warnings)
    overrides = escaped(", ".join(summary.overrides))
    differs = f"Differs from the recipe's file: {overrides}\n\n" if overrides else ""
    version = f"{summary.model['name']}/{summary.model['version']}"
    outcome = f"becomes {summary.decision['alias']}" if summary.decision["promote"] else "gets no alias"
    return (
        f"**{escaped(str(summary.verdict['sentence']))}**\n\n{beware}"
        f"Decision: {escaped(version)} {outcome}\n\n{reasons}\n\n{differs}"
        f"| option | {escaped(metric)} | interval | n |\n|---|---|---|---|\n{rows}\n"
    )


def links_as_markdown(pages: Mapping[str, str]) -> str:
    """Links to pages of the MLflow UI, by what they are called: relative, so that they hold at any address of it."""
    return " · ".join(f"[the {escaped(what)}]({page})" for what, page in pages.items()) + "\n"
