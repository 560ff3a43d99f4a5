"""What can be wrong with a verdict, in a sentence or two. Pure."""

from __future__ import annotations

from tasks.reporting.summary import RunSummary


def risk(summary: RunSummary) -> str:
    """How often the rule errs, and what an error may cost; empty where nothing was compared.

    A cheaper option's interval ends too low (or too high) with half of what its level leaves. "Pays" needs the lower
    end of every interval, so it errs no oftener than one of them does; "does not pay" needs the upper end of one, so
    these chances add up (Bonferroni).
    """
    gain = summary.verdict.get("gain")
    if gain is None:
        return ""
    one_end = (1 - gain["confidence"]) / 2
    low, high = (_money(summary, summary.verdict[key]) for key in ("net_value_low", "net_value_high"))
    best = summary.verdict["best_cheaper"]
    if summary.verdict["kind"] == "pays":
        return (
            f"A fine-tune that is no better than {best} would get this verdict with a chance of at most "
            f"{_percent(one_end)}. The gain seen is an estimate: it may be as little as {_points(gain['low'])}, worth "
            f"{low}. Both hold for texts like the test records, at the recipe's prices and load."
        )
    if summary.verdict["kind"] == "does_not_pay":
        rivals = sum(option.kind not in ("candidate", "champion") for option in summary.options)
        return (
            f"A fine-tune that does pay would get this verdict with a chance of at most {_percent(rivals * one_end)}. "
            "It holds for this base model, trained on these records, at the recipe's prices and load: a larger base, "
            "more records or a higher load may still pay."
        )
    return (
        f"Choosing the fine-tune now may change the answers by {_points(gain['low'])} to {_points(gain['high'])} "
        f"against {best}, worth {low} to {high}: both directions are open."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"


def _percent(chance: float) -> str:
    return f"{100 * min(chance, 1):.2g}%"


def _money(summary: RunSummary, amount: float) -> str:
    return f"{round(amount):,} {summary.cost.get('currency', '')}".rstrip()
