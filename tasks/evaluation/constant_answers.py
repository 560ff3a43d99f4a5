"""Whether an option says the same to everything: its score is then no sign that it learnt the task. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.metrics.task_metrics import normalise

_MOST = 0.9
"""Share of equal answers from which an option is called out."""
_FEWEST = 20
"""Answers below which nothing is said: a few may well be equal."""
_MARGIN = 0.2
"""By so much it must be above the share of the most common right answer: labels may be as uneven as that."""


def constant_answer_warning(name: str, outputs: Sequence[str], references: Sequence[str]) -> str | None:
    """Say in a sentence that nearly all outputs are the same where those wanted are not; None where all is well.

    Args:
        name: of the option.
        outputs: what it said, by record.
        references: what was wanted.
    """
    if len(outputs) < _FEWEST:
        return None
    said, wanted = _commonest_share(outputs), _commonest_share(references)
    if said < max(_MOST, wanted + _MARGIN):
        return None
    return (
        f"{name} gives one and the same answer to {said:.0%} of the test records, where the most common right answer "
        f"fits {wanted:.0%}: it has hardly learnt the task, whatever its score; more training or another learning "
        "rate may help"
    )


def _commonest_share(texts: Sequence[str]) -> float:
    return Counter(map(normalise, texts)).most_common(1)[0][1] / len(texts)
