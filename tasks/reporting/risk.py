"""What can be wrong with a verdict, in a sentence or two. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.reporting.summary import RunSummary

_LARGEST_CHANCE_SHOWN = 0.25


def risk(summary: RunSummary) -> str:
    """How often the rule errs, and what an error may cost; empty where nothing was compared.

    "Pays" needs the lower end of every interval and the tests, so it errs no oftener than one end of one interval
    (an intersection-union test). "Does not pay" needs the upper end of one, whichever it is, so these chances add up
    (Bonferroni), and they are nominal: no test stands beside the upper end.
    """
    gain = summary.verdict.get("gain")
    if gain is None:
        return ""
    one_end = (1 - gain["confidence"]) / 2
    if summary.verdict["kind"] == "pays":
        return _of_a_yes(summary, gain, one_end)
    if summary.verdict["kind"] == "does_not_pay":
        return _of_a_no(summary, gain, one_end)
    return _of_a_guess(summary, gain)


def _of_a_yes(summary: RunSummary, gain: Mapping[str, Any], one_end: float) -> str:
    return (
        f"A fine-tune that is no better than {summary.verdict['best_cheaper']} would get this verdict at this look "
        f"with a chance of at most {_percent(one_end)} (promotion.alpha bounds all looks at this test set together). "
        f"The gain may be as little as {_points(gain['low'])}, worth {_money(summary, 'net_value_low')}. "
        "All this is said of texts like the test records, at the recipe's prices and load."
    )


def _of_a_no(summary: RunSummary, gain: Mapping[str, Any], one_end: float) -> str:
    rivals = sum(option.kind not in ("candidate", "champion") for option in summary.options)
    each = f" ({_percent(one_end)} for each of {rivals} cheaper options)" if rivals > 1 else ""
    chance = (
        f"A fine-tune that does pay would get this verdict with a chance of nominally {_percent(rivals * one_end)} or "
        f"less{each}. "
        if rivals * one_end <= _LARGEST_CHANCE_SHOWN
        else ""
    )
    if gain["high"] > summary.min_gain:
        return f"{chance}The money decided: at other prices (section economics) or another load the fine-tune may pay."
    return (
        f"{chance}It is said of this base model, trained on these records: a larger base or more records may still pay."
    )


def _of_a_guess(summary: RunSummary, gain: Mapping[str, Any]) -> str:
    seen = (
        f"{_points(gain['low'])} to {_points(gain['high'])} against {summary.verdict['best_cheaper']}, worth "
        f"{_money(summary, 'net_value_low')} to {_money(summary, 'net_value_high')}"
    )
    if gain["low"] <= 0:
        return f"Choosing the fine-tune now may make the answers better or worse: {seen}."
    if summary.verdict["net_value_low"] <= 0:
        return f"The answers seem to get better, but perhaps not by enough to pay: {seen}."
    return (
        f"It seems to be a gain ({seen}), but it is not sure to be above promotion.min_gain, "
        f"{_points(summary.min_gain)}, by interval and test alike."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"


def _percent(chance: float) -> str:
    return f"{100 * chance:.2g}%"


def _money(summary: RunSummary, key: str) -> str:
    return f"{round(summary.verdict[key]):,} {summary.cost.get('currency', '')}".rstrip()
