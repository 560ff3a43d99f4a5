"""The report: one HTML file without external assets or scripts, verdict first."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.reporting.next_steps import next_commands, next_step
from tasks.reporting.plots import curves_plot, gains_plot, history_plot, options_plot
from tasks.reporting.risk import risk
from tasks.reporting.search_plots import SEARCH_HEADINGS, search_plots
from tasks.reporting.summary import RunSummary
from tasks.search.space import shown_parameters
from tasks.tracking.shown_text import printable

if TYPE_CHECKING:
    from jinja2 import Template


VERDICTS = {"pays": "fine-tuning pays", "does_not_pay": "fine-tuning does not pay", "cannot_tell": "can't tell yet"}
"""The verdicts as shown, by their kind."""


def render_report(summary: RunSummary) -> str:
    """The whole report as HTML; every value is escaped, and the page's own policy forbids scripts and requests."""
    from markupsafe import Markup

    trials, comparisons = summary.details.get("trials", []), summary.details.get("comparisons", [])
    plots = {
        "gains": Markup(gains_plot(comparisons, summary.min_gain)) if comparisons else "",
        "options": Markup(options_plot(summary.options)) if summary.options else "",
        "curves": Markup(curves_plot(trials)) if trials else "",
        "history": Markup(history_plot(trials)) if trials else "",
        **{name: Markup(plot) for name, plot in search_plots(trials, summary.details.get("importance", {})).items()},
    }
    rules = summary.details.get("validation", [])
    return _template().render(
        summary=summary,
        details=summary.details,
        plots=plots,
        search_headings=SEARCH_HEADINGS,
        title=VERDICTS.get(str(summary.verdict.get("kind")), "no verdict yet"),
        chosen=shown_parameters(summary.chosen),
        risk=risk(summary),
        next_step=next_step(summary),
        next_command=next_commands(summary)[0],
        failed=[rule for rule in rules if rule["failed"]],
        held=[rule for rule in rules if not rule["failed"]],
        grouped=any(0 < row.groups < row.n for row in summary.options),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = lambda value: printable(str(value))
    environment.filters["number"] = _number
    return environment.get_template("report.html.j2")


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return "–" if value is None else printable(str(value))
