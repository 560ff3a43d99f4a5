"""How far an option says the same when it is asked again and answers by chance. Never decides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from tasks.metrics.task_metrics import score_rows


def consistency_figures(samples: Sequence[Sequence[str]]) -> dict[str, float]:
    """Compare the answers to each record with each other, in pairs.

    `consistency`: share of pairs that say the same (`normalised_match`); `consistency_words`: mean `token_f1` of the
    pairs. Both are means over the records, each of which counts alike.

    Args:
        samples: The answers to each record; records with fewer than two don't count.

    Returns:
        Both figures by name; none where no record counts.
    """
    compared = [pairs for answers in samples if (pairs := list(combinations(answers, 2)))]
    if not compared:
        return {}
    return {
        name: fmean(_mean_score(metric, pairs) for pairs in compared)
        for name, metric in (("consistency", "normalised_match"), ("consistency_words", "token_f1"))
    }


def _mean_score(metric: str, pairs: Sequence[tuple[str, str]]) -> float:
    return float(score_rows(metric, [first for first, _ in pairs], [second for _, second in pairs]).mean())
