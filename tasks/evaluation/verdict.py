"""The economic answer: does fine-tuning pay?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from configs.schema import Economics, Promotion
from tasks.evaluation.comparison import compare
from tasks.evaluation.costs import break_even_requests, gain_at_zero_net_value, net_value
from tasks.evaluation.scorecards import Scorecard
from tasks.evaluation.slices import EvaluationRows
from tasks.metrics.intervals import PairedDifference
from tasks.metrics.looks import confidence_at_look, level_in_words
from tasks.metrics.power import records_needed
from tasks.metrics.proportions import normal_quantile

VerdictKind = Literal["pays", "does_not_pay", "cannot_tell"]

_POWER = 0.8
"""Probability with which the suggested number of test records would tell, at the gain seen."""
_MOST_RECORDS = 1_000_000
"""More test records than this are no suggestion."""


@dataclass(frozen=True)
class Verdict:
    """Whether the fine-tune is worth having instead of the best cheaper option."""

    kind: VerdictKind
    sentence: str
    """One plain sentence for a manager, with figures and interval."""
    rule: str
    """What the verdict goes by."""
    recommended: str
    """Name of the option to use."""
    best_cheaper: str | None
    """The cheaper option that decides: the hardest to beat."""
    gain: PairedDifference | None
    """Of the candidate over the best cheaper option; None where no cheaper option was scored."""
    net_value: float | None
    """Over the horizon, at the gain seen, in `economics.currency`."""
    net_value_low: float | None
    """At the lower end of the gain's interval."""
    net_value_high: float | None
    """At the upper end."""
    break_even_requests_per_month: int | None
    """Load from which the gain seen pays for training and extra hosting; None: at no load."""
    more_test_records: int | None
    """Where the verdict can't be told: about so many more would tell, with 80% probability; None: no number would."""


@dataclass(frozen=True)
class _Rival:
    """The candidate against one cheaper option."""

    card: Scorecard
    gain: PairedDifference
    kind: VerdictKind
    net: tuple[float, float, float]
    """Net value at the lower end, at the gain seen, at the upper end."""


def decide_verdict(
    candidate: Scorecard,
    cheaper: Sequence[Scorecard],
    *,
    rows: EvaluationRows,
    promotion: Promotion,
    economics: Economics,
    confidence: float,
    look: int,
) -> Verdict:
    """Decide by the paired interval and by money.

    One interval decides all three verdicts and is the one shown: that of `verdict_confidence`.

    The candidate pays when it pays against every cheaper option (an intersection-union test: no correction for
    their number is needed), and does not pay as soon as it does not pay against one.

    Args:
        candidate: The fine-tune.
        cheaper: The other options, scored on the same records.
        rows: These records.
        promotion: For `min_gain` and `alpha`.
        economics: Prices, load and horizon.
        confidence: Two-sided level of the interval, where the look does not ask for more.
        look: Number of this look at the test set, from 1.

    Raises:
        ValueError: `look` is below 1.
    """
    level = verdict_confidence(promotion, confidence=confidence, look=look)
    following = verdict_confidence(promotion, confidence=confidence, look=look + 1)
    rule = _rule(promotion, economics, level)
    if not cheaper:
        return _nothing_to_compare(candidate, rule)
    rivals = [
        _face(candidate, card, rows=rows, promotion=promotion, economics=economics, confidence=level)
        for card in cheaper
    ]
    rival = min(rivals, key=lambda rival: (_SEVERITY[rival.kind], rival.gain.low))
    more = _more_records(candidate, rival, promotion, economics, following) if rival.kind == "cannot_tell" else None
    return Verdict(
        kind=rival.kind,
        sentence=_sentence(candidate, rival, economics, look, more),
        rule=rule,
        recommended=candidate.name if rival.kind == "pays" else rival.card.name,
        best_cheaper=rival.card.name,
        gain=rival.gain,
        net_value=rival.net[1],
        net_value_low=rival.net[0],
        net_value_high=rival.net[2],
        break_even_requests_per_month=break_even_requests(
            rival.gain.difference,
            rates=_rates(candidate, rival.card),
            training=candidate.training_cost,
            economics=economics,
        ),
        more_test_records=more,
    )


def verdict_confidence(promotion: Promotion, *, confidence: float, look: int) -> float:
    """Two-sided level of the verdict's interval: what this look may spend of alpha, and never below `confidence`."""
    return max(confidence, confidence_at_look(promotion.alpha, look))


_SEVERITY: dict[VerdictKind, int] = {"does_not_pay": 0, "cannot_tell": 1, "pays": 2}


def _face(
    candidate: Scorecard,
    other: Scorecard,
    *,
    rows: EvaluationRows,
    promotion: Promotion,
    economics: Economics,
    confidence: float,
) -> _Rival:
    gain = compare(candidate, other, rows=rows, confidence=confidence)
    low, seen, high = (
        net_value(value, rates=_rates(candidate, other), training=candidate.training_cost, economics=economics)
        for value in (gain.low, gain.difference, gain.high)
    )
    kind: VerdictKind = "cannot_tell"
    if gain.surely_above(promotion.min_gain) and low > 0:
        kind = "pays"
    elif gain.surely_not_above(promotion.min_gain) or high <= 0:
        kind = "does_not_pay"
    return _Rival(other, gain, kind, (low, seen, high))


def _rates(candidate: Scorecard, other: Scorecard) -> tuple[float, float]:
    return candidate.records_per_second, other.records_per_second


def _more_records(
    candidate: Scorecard, rival: _Rival, promotion: Promotion, economics: Economics, confidence: float
) -> int | None:
    """How many more records would put the interval on one side of the gain that is needed, if the gain seen is true.

    `confidence` is that of the next look, which they are for.
    """
    worth_it = gain_at_zero_net_value(
        rates=_rates(candidate, rival.card), training=candidate.training_cost, economics=economics
    )
    gain = rival.gain
    half_width = (gain.high - gain.low) / 2
    deviation = half_width / normal_quantile(gain.confidence) * gain.n**0.5
    needed = records_needed(
        gain.difference - max(promotion.min_gain, worth_it),
        deviation=deviation,
        confidence=confidence,
        power=_POWER,
    )
    if needed is None or needed - gain.n > _MOST_RECORDS:
        return None
    return max(1, needed - gain.n)


def _rule(promotion: Promotion, economics: Economics, confidence: float) -> str:
    return (
        "Fine-tuning pays when, against every cheaper option, the lower bound of the paired "
        f"{level_in_words(confidence)} interval of its gain is above promotion.min_gain "
        f"({100 * promotion.min_gain:g} points) and the paired test agrees, and the net value at that bound is above 0 "
        f"at {economics.requests_per_month:,} requests a month within {economics.horizon_months} months. It does not "
        "pay when, against one of them, the upper bound of the gain is not above promotion.min_gain or the net value "
        "at that bound is not above 0. Otherwise one can't tell yet."
    )


def _sentence(candidate: Scorecard, rival: _Rival, economics: Economics, look: int, more: int | None) -> str:
    gain, (low, seen, high) = rival.gain, rival.net
    counted = f", look {look} at this test set" if look > 1 else ""
    facts = (
        f"{candidate.name} scores {candidate.estimate.value:.1%} and {rival.card.name}, the best cheaper option, "
        f"{rival.card.estimate.value:.1%} on {gain.n} test records, a gain of {100 * gain.difference:.1f} points "
        f"({level_in_words(gain.confidence)} interval {100 * gain.low:.1f} to {100 * gain.high:.1f}{counted}), worth "
        f"{_money(seen, economics)} net over {economics.horizon_months} months "
        f"({_money(low, economics)} to {_money(high, economics)})"
    )
    if rival.kind == "pays":
        return f"Fine-tuning pays: {facts}."
    if rival.kind == "does_not_pay":
        return f"Fine-tuning does not pay: {facts}; use {rival.card.name}."
    outlook = (
        f"about {rounded_records(more):,} more test records would tell" if more else "too close for more data to tell"
    )
    return f"It can't be told yet whether fine-tuning pays: {facts}; {outlook}."


def _nothing_to_compare(candidate: Scorecard, rule: str) -> Verdict:
    return Verdict(
        kind="cannot_tell",
        sentence=(
            f"It can't be told whether fine-tuning pays: {candidate.name} scores {candidate.estimate.value:.1%}, "
            "but no cheaper option was scored; turn on baseline.classical or give baseline.shots."
        ),
        rule=rule,
        recommended=candidate.name,
        best_cheaper=None,
        gain=None,
        net_value=None,
        net_value_low=None,
        net_value_high=None,
        break_even_requests_per_month=None,
        more_test_records=None,
    )


def _money(amount: float, economics: Economics) -> str:
    return f"{round(amount):,} {economics.currency}"


def rounded_records(records: int) -> int:
    """A number of records to two figures: it is a rough one."""
    digits = len(str(records)) - 2
    return round(records, -digits) if digits > 0 else records
