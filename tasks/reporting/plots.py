"""Plots as inline SVG: no scripts, no external assets, text stays text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.metrics.intervals import PairedDifference
from tasks.reporting.summary import OptionRow
from tasks.tracking.shown_text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"classical": "#7a6a4f", "prompt": "#4a7a8c", "candidate": "#b4491f", "champion": "#3f7d4f"}
_SURELY_BETTER, _SURELY_NOT, _CANNOT_TELL = "#2f7040", "#a83a1f", "#9a6a00"  # as the verdicts in report.html.j2
_WIDTH_INCHES = 7.2


def options_plot(options: Sequence[OptionRow]) -> str:
    """Every option's metric with its interval, best on top."""
    rows = sorted(options, key=lambda option: option.value)
    metric = rows[0].metric if rows else "metric"
    return _intervals_plot(
        [_Interval(row.name, row.low, row.value, row.high, _COLOURS[row.kind]) for row in rows], metric
    )


def gains_plot(comparisons: Sequence[Mapping[str, Any]], min_gain: float) -> str:
    """What the candidate gains over each other option, in points with its interval; dashed: the gain that is wanted.

    Green: surely more than it, by interval and test; red: surely not more.
    """
    rows = []
    for row in sorted(comparisons, key=lambda row: float(row["low"]), reverse=True):
        gain = PairedDifference(**{key: value for key, value in row.items() if key != "option"})
        better, not_better = gain.surely_above(min_gain), gain.surely_not_above(min_gain)
        colour = _SURELY_BETTER if better else _SURELY_NOT if not_better else _CANNOT_TELL
        low, seen, high = (100 * value for value in (gain.low, gain.difference, gain.high))
        rows.append(_Interval(f"over {row['option']}", low, seen, high, colour))
    return _intervals_plot(rows, "gain of the fine-tune in points", wanted=100 * min_gain)


class _Interval(NamedTuple):
    name: str
    low: float
    seen: float
    high: float
    colour: str


def _intervals_plot(rows: Sequence[_Interval], what: str, *, wanted: float | None = None) -> str:
    """Intervals one above the other, the last on top; with `wanted`, a line at 0 and a dashed one there."""
    figure, axes = new_figure(height=0.8 + 0.36 * len(rows))
    if wanted is not None:
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.axvline(wanted, color="#555555", linewidth=1, linestyle="--")
    for position, row in enumerate(rows):
        axes.plot([row.low, row.high], [position, position], color=row.colour, linewidth=2, solid_capstyle="round")
        axes.plot(row.seen, position, "o", color=row.colour)
    axes.set_yticks(range(len(rows)), [short_label(row.name) for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(what)
    axes.grid(axis="x", alpha=0.3)
    return as_svg(figure)


def curves_plot(trials: Sequence[Mapping[str, Any]]) -> str:
    """Validation metric during training, one line a trial."""
    figure, axes = new_figure(height=2.8)
    for trial in trials:
        curve = trial.get("curve") or []
        if curve:
            steps, values = zip(*curve, strict=True)
            axes.plot(steps, values, "o-", markersize=3, linewidth=1.2, label=f"trial {trial['number']}")
    axes.margins(x=0.03, y=0.12)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("validation metric")
    axes.grid(alpha=0.3)
    if any(trial.get("curve") for trial in trials):
        axes.legend(fontsize=7, ncols=4, frameon=False)
    return as_svg(figure)


def history_plot(trials: Sequence[Mapping[str, Any]]) -> str:
    """The search: each trial's result and the best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(height=2.4)
    done = [trial for trial in trials if trial.get("value") is not None]
    best: list[float] = []
    for trial in done:
        best.append(max([trial["value"], *best[-1:]]))
    numbers = [trial["number"] for trial in done]
    for state, marker in (("COMPLETE", "o"), ("PRUNED", "x")):
        points = [(trial["number"], trial["value"]) for trial in done if trial["state"] == state]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color="#4a7a8c", label=state.lower())
    axes.step(numbers, best, where="post", color="#b4491f", linewidth=1, label="best so far")
    axes.margins(x=0.06, y=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("validation metric")
    axes.grid(alpha=0.3)
    if done:
        axes.legend(fontsize=7, frameon=False)
    return as_svg(figure)


def short_label(text: str) -> str:
    """Data may hold `$`, which would start a formula in matplotlib."""
    return shortened(text, 36).replace("$", r"\$")


def new_figure(*, height: float) -> tuple[Figure, Axes]:
    """An empty plot in the report's style; the height is in inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def as_svg(figure: Figure) -> str:
    """The plot as an SVG element whose text stays text."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "burnish", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
