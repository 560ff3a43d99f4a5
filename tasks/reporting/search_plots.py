"""Plots of a study for the report: what mattered, which values went together, what ran when, value against time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reporting.plots import as_svg, new_figure, short_label

_BEST, _OTHER, _ENDED_EARLY = "#b4491f", "#4a7a8c", "#b8b3a6"
_STATE_COLOURS = {"COMPLETE": _OTHER, "PRUNED": _ENDED_EARLY, "FAIL": "#a83a1f"}

SEARCH_HEADINGS = (
    ("importance", "What mattered: each searched field's share of the differences between trials"),
    ("parallel", "Which values went together: a line for each trial, the best one in red"),
    ("timeline", "What ran when: each trial from its beginning to its end"),
    ("pareto", "What quality costs: validation against training time, with the trials that nothing beats in both"),
)
"""Names of the plots and what each shows, in the report's order."""

Trials = Sequence[Mapping[str, Any]]


def search_plots(trials: Trials, importance: Mapping[str, Any]) -> dict[str, str]:
    """The plots that these trials have enough for, by name."""
    done = [trial for trial in trials if trial["value"] is not None and trial.get("values")]
    finished = [trial for trial in done if trial["state"] == "COMPLETE"]
    plots = {}
    if importance.get("shares"):
        plots["importance"] = importance_plot(importance["shares"])
    if len(done) > 1:
        plots["parallel"] = parallel_plot(trials)
    if any(trial.get("began") is not None for trial in trials):
        plots["timeline"] = timeline_plot(trials)
    if len(finished) > 1:
        plots["pareto"] = pareto_plot(trials)
    return plots


def importance_plot(shares: Mapping[str, float]) -> str:
    """Each searched field's share of the variance of the validation value."""
    rows = sorted(shares.items(), key=lambda row: row[1])
    figure, axes = new_figure(height=0.7 + 0.32 * len(rows))
    axes.barh(range(len(rows)), [share for _, share in rows], color=_OTHER, height=0.6)
    axes.set_yticks(range(len(rows)), [short_label(field) for field, _ in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the variance of the validation value")
    return as_svg(figure)


def parallel_plot(trials: Trials) -> str:
    """One line a trial through its values of the searched fields to its validation value; the best one stands out."""
    done = [trial for trial in trials if trial["value"] is not None and trial["values"]]
    fields = sorted({field for trial in done for field in trial["values"]})
    figure, axes = new_figure(height=3.0)
    scales = [_scale([trial["values"].get(field) for trial in done]) for field in fields]
    scales.append(_scale([trial["value"] for trial in done]))
    best = best_trial(done)
    for trial in sorted(done, key=lambda trial: trial is best):
        values = [trial["values"].get(field) for field in fields] + [trial["value"]]
        heights = [math.nan if value is None else scale[value] for value, scale in zip(values, scales, strict=True)]
        colour = _BEST if trial is best else _STATE_COLOURS[trial["state"]]
        axes.plot(range(len(heights)), heights, "o-", color=colour, markersize=3, linewidth=2 if trial is best else 1)
    axes.set_xticks(range(len(scales)), [*(short_label(field) for field in fields), "validation"])
    axes.set_yticks([])
    for position, scale in enumerate(scales):
        for value in {min(scale, key=lambda key: scale[key]), max(scale, key=lambda key: scale[key])}:
            axes.annotate(
                _short(value), (position, scale[value]), textcoords="offset points", xytext=(4, 4), fontsize=7
            )
    axes.margins(y=0.15)
    return as_svg(figure)


def timeline_plot(trials: Trials) -> str:
    """When each trial ran, in minutes since the first one began; interrupted ones include their pause."""
    timed = [trial for trial in trials if trial.get("began") is not None and trial.get("ended") is not None]
    figure, axes = new_figure(height=0.7 + 0.22 * max(1, len(timed)))
    first = min((trial["began"] for trial in timed), default=0.0)
    for position, trial in enumerate(timed):
        began, minutes = (trial["began"] - first) / 60, (trial["ended"] - trial["began"]) / 60
        axes.barh(position, minutes, left=began, color=_STATE_COLOURS[trial["state"]], height=0.7)
    axes.set_yticks(range(len(timed)), [f"trial {trial['number']}" for trial in timed])
    axes.invert_yaxis()
    axes.set_xlabel("minutes since the first trial began")
    for state in dict.fromkeys(trial["state"] for trial in timed):
        axes.barh(0, 0, color=_STATE_COLOURS[state], label=state.lower())
    if timed:
        axes.legend(fontsize=7, frameon=False)
    return as_svg(figure)


def pareto_plot(trials: Trials) -> str:
    """Validation value against training time; the line joins those that no other trial beats in both."""
    done = [trial for trial in trials if trial["state"] == "COMPLETE" and trial["value"] is not None]
    front = pareto_front(done)
    figure, axes = new_figure(height=2.6)
    axes.plot([trial["seconds"] for trial in done], [trial["value"] for trial in done], "o", color=_OTHER)
    axes.step(
        [trial["seconds"] for trial in front], [trial["value"] for trial in front], "o-", where="post", color=_BEST
    )
    for trial in front:
        axes.annotate(
            f"trial {trial['number']}", (trial["seconds"], trial["value"]),
            textcoords="offset points", xytext=(5, -9), fontsize=7,
        )  # fmt: skip
    axes.margins(x=0.12, y=0.2)
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("validation metric")
    axes.grid(alpha=0.3)
    return as_svg(figure)


def pareto_front(trials: Trials) -> list[Mapping[str, Any]]:
    """Trials that no other one equals or beats in value in less time, the fastest first."""
    front: list[Mapping[str, Any]] = []
    for trial in sorted(trials, key=lambda trial: (trial["seconds"], -trial["value"])):
        if not front or trial["value"] > front[-1]["value"]:
            front.append(trial)
    return front


def best_trial(trials: Trials) -> Mapping[str, Any] | None:
    """The finished one with the highest value; among equals the first."""
    finished = [trial for trial in trials if trial["state"] == "COMPLETE"]
    return max(finished, key=lambda trial: trial["value"]) if finished else None


def _scale(values: Sequence[Any]) -> dict[Any, float]:
    """Each value's height between 0 and 1: numbers by their logarithm where they span decades, words evenly."""
    known = {value for value in values if value is not None}
    if any(isinstance(value, str) for value in known):
        ordered = sorted(known, key=str)
        return {value: position / max(1, len(ordered) - 1) for position, value in enumerate(ordered)}
    low, high = min(known, default=0), max(known, default=1)
    if low == high:
        return dict.fromkeys(known, 0.5)
    if low > 0 and high / low >= 10:
        return {value: math.log(value / low) / math.log(high / low) for value in known}
    return {value: (value - low) / (high - low) for value in known}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else short_label(str(value))
