"""The gates between a candidate and its alias: a pure decision over scorecards and the recipe's policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from configs.schema import Promotion
from tasks.evaluation.comparison import compare
from tasks.evaluation.scorecards import Scorecard
from tasks.evaluation.slices import EvaluationRows, SliceComparison, compare_slices, worst_looking
from tasks.evaluation.verdict import Verdict, VerdictKind
from tasks.metrics.looks import alpha_at_look, confidence_at_look, level_in_words


@dataclass(frozen=True)
class Contest:
    """Who is compared with whom, and on what."""

    candidate: Scorecard
    """The fine-tune."""
    cheaper: Sequence[Scorecard]
    """The cheaper options, scored on the same records."""
    champion: Scorecard | None
    """The champion's scorecard on the same records; None if there is no champion."""
    champion_version: str | None
    """Its version in the registry."""
    rows: EvaluationRows
    """The records."""
    look: int
    """Number of this decision on this test set, from 1."""

    @property
    def others(self) -> list[Scorecard]:
        """All but the candidate."""
        return [*self.cheaper, *([self.champion] if self.champion else [])]


@dataclass(frozen=True)
class GateOutcome:
    """One rule and whether the candidate clears it."""

    name: str
    passed: bool
    reason: str
    """One sentence with figures, whether passed or not."""
    checked: bool = True
    """False: it passed since there was nothing to hold the candidate against."""


@dataclass(frozen=True)
class Decision:
    """The outcome of all gates for one candidate."""

    promote: bool
    alias: Literal["champion", "challenger"] | None
    """What the candidate becomes; None if it is refused."""
    gates: tuple[GateOutcome, ...]
    reasons: tuple[str, ...]
    """Of the gates that refused it; of all gates if none did."""
    champion_version: str | None
    """The champion it was compared with: the decision is void if that changed meanwhile."""
    look: int
    """Which decision on this test set this is, from 1."""
    alpha_spent: float
    """One-sided level that this look spent."""
    slices: tuple[SliceComparison, ...]
    """The candidate against the champion, else against the best cheaper option."""
    looks_worse: str
    """The slice with a large loss that is not sure, in words; empty where there is none."""


def should_promote(
    contest: Contest,
    verdict: Verdict,
    *,
    policy: Promotion,
    parity_passed: bool,
    parity_reason: str,
    veto: str,
    currency: str,
) -> Decision:
    """Decide whether the candidate earns its alias. Every gate is evaluated, so that all reasons are known.

    Equal models are promoted with probability at most `policy.alpha` over all looks at one test set together: the
    lower bounds are one-sided at the level that this look may spend.

    Args:
        contest: Who is compared with whom.
        verdict: Whether fine-tuning pays.
        policy: The recipe's limits.
        parity_passed: Whether the registered model equals the trained one.
        parity_reason: What the parity check found, in one sentence.
        veto: Why no version may be made champion without a person; empty where it may.
        currency: Of costs, shown only.
    """
    reference = contest.champion or next((card for card in contest.cheaper if card.name == verdict.best_cheaper), None)
    compared = _slice_comparisons(contest, reference, policy)
    gates = (
        *_gain_gates(contest, policy),
        _score_gate(contest.candidate, policy),
        GateOutcome("pays", verdict.kind == "pays", _VERDICTS[verdict.kind]),
        _slice_gate(compared, policy),
        _latency_gate(contest.candidate, policy),
        _cost_gate(contest.candidate, policy, currency),
        GateOutcome("parity", parity_passed, parity_reason),
        GateOutcome("veto", not veto, veto or "no person took the alias from this version"),
    )
    promote = all(gate.passed for gate in gates)
    return Decision(
        promote=promote,
        alias=policy.alias if promote else None,
        gates=gates,
        reasons=tuple(f"{gate.name}: {gate.reason}" for gate in gates if promote or not gate.passed),
        champion_version=contest.champion_version,
        look=contest.look,
        alpha_spent=alpha_at_look(policy.alpha, contest.look),
        slices=compared,
        looks_worse=_looks_worse(compared, reference.name) if reference else "",
    )


_VERDICTS: dict[VerdictKind, str] = {
    "pays": "the verdict is that fine-tuning pays",
    "does_not_pay": "the verdict is that fine-tuning does not pay",
    "cannot_tell": "the verdict is that one can't tell yet",
}


def _gain_gates(contest: Contest, policy: Promotion) -> list[GateOutcome]:
    """One gate for each cheaper option, and one for the champion."""
    level = confidence_at_look(policy.alpha, contest.look)

    def gate(name: str, other: Scorecard) -> GateOutcome:
        gain = compare(contest.candidate, other, rows=contest.rows, confidence=level)
        passed = gain.surely_above(policy.min_gain)
        reason = (
            f"over {other.name} {100 * gain.difference:+.1f} points, lower bound {100 * gain.low:+.1f} "
            f"({level_in_words((1 + level) / 2)} one-sided, {gain.method}); "
            f"a bound above {100 * policy.min_gain:g} is wanted"
        )
        if not passed and gain.low > policy.min_gain:
            reason += f", but the {gain.test} test does not confirm it (p = {gain.p_value:.2g})"
        return GateOutcome(name, passed, reason)

    over_champion = "gain over the champion"
    return [
        *(gate("gain over cheaper options", card) for card in contest.cheaper),
        gate(over_champion, contest.champion)
        if contest.champion
        else GateOutcome(over_champion, True, "there is no champion yet", checked=False),
    ]


def _score_gate(candidate: Scorecard, policy: Promotion) -> GateOutcome:
    found, limit = candidate.estimate, policy.min_score
    level = f"{level_in_words((1 + found.confidence) / 2)} one-sided, {found.method}"
    reason = f"scores {100 * found.value:.1f}%, lower bound {100 * found.low:.1f}% ({level})"
    if limit == 0:
        return GateOutcome("score", True, f"{reason}; no limit set", checked=False)
    return GateOutcome("score", found.low >= limit, f"{reason}; a bound of {100 * limit:g}% is wanted")


def _slice_comparisons(contest: Contest, reference: Scorecard | None, policy: Promotion) -> tuple[SliceComparison, ...]:
    if reference is None:
        return ()
    return compare_slices(
        contest.candidate.row_scores,
        reference.row_scores,
        rows=contest.rows,
        min_rows=policy.min_slice_rows,
        max_loss=policy.max_slice_loss,
        confidence=policy.slice_confidence,
    )


def _slice_gate(compared: Sequence[SliceComparison], policy: Promotion) -> GateOutcome:
    blocking = [item for item in compared if item.blocks]
    untold = sum(item.p_value is None for item in compared)
    few = f"; {untold} slices have fewer than {policy.min_slice_rows} records: too few to tell" if untold else ""
    if blocking:
        named = ", ".join(
            f"{item.slice} {item.value!r} ({100 * item.difference:.1f} points on {item.n} records)" for item in blocking
        )
        limit = f"{100 * policy.max_slice_loss:g} points"
        return GateOutcome("slices", False, f"surely worse by more than {limit} in {named}{few}")
    tested = len(compared) - untold
    return GateOutcome(
        "slices",
        True,
        f"none of {tested} slices is surely worse by more than {100 * policy.max_slice_loss:g} points{few}",
        checked=tested > 0,
    )


def _looks_worse(compared: Sequence[SliceComparison], reference: str) -> str:
    worst = worst_looking(compared)
    if worst is None:
        return ""
    alone = worst.groups == worst.n
    of = "" if alone else f" of {worst.groups} group{'s' if worst.groups > 1 else ''}"
    return (
        f"{worst.slice} {worst.value!r}, {-100 * worst.difference:.1f} points below {reference}; "
        f"too few {'records' if alone else 'groups'} to be sure: {worst.n} records{of}"
    )


def _latency_gate(candidate: Scorecard, policy: Promotion) -> GateOutcome:
    found, limit = candidate.latency_p95_seconds, policy.max_latency_p95_seconds
    if limit is None:
        return GateOutcome("latency", True, "no limit set", checked=False)
    if found is None:
        return GateOutcome("latency", False, f"not measured; at most {limit:g} s is allowed")
    return GateOutcome("latency", found <= limit, f"p95 is {found:.3g} s; at most {limit:g} s is allowed")


def _cost_gate(candidate: Scorecard, policy: Promotion, currency: str) -> GateOutcome:
    found, limit = candidate.cost_per_1000_requests, policy.max_cost_per_1000_requests
    if limit is None:
        return GateOutcome("cost", True, "no limit set", checked=False)
    reason = f"1,000 requests cost {found:.4g} {currency}; at most {limit:g} {currency} is allowed"
    return GateOutcome("cost", found <= limit, reason)
