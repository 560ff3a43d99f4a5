"""Scores of single answers: each between 0 and 1, higher is better."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["exact_match", "normalised_match", "token_f1"]


def score_rows(metric: Metric, outputs: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Score each output against its reference.

    Args:
        metric: `exact_match` ignores outer white space; `normalised_match` also case, Unicode form, inner white
            space and outer punctuation; `token_f1` is the F1 of normalised words, as SQuAD counts them.
        outputs: What the option said, by record.
        references: What was wanted, in the same order.

    Returns:
        Scores in [0, 1], shape [records].

    Raises:
        ValueError: `outputs` and `references` differ in length.
    """
    score = _SCORES[metric]
    return np.array([score(output, wanted) for output, wanted in zip(outputs, references, strict=True)], dtype=float)


def is_binary(metric: Metric) -> bool:
    """Whether the metric scores each record 0 or 1, so that its mean is a proportion."""
    return metric != "token_f1"


def macro_f1(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Mean over the reference labels of each label's F1; a label that is never said has F1 0."""
    said = Counter(output.strip() for output in outputs)
    wanted = Counter(reference.strip() for reference in references)
    pairs = zip(outputs, references, strict=True)
    right = Counter(reference.strip() for output, reference in pairs if output.strip() == reference.strip())
    return float(np.mean([2 * right[label] / (said[label] + wanted[label]) for label in wanted]))


def normalise(text: str) -> str:
    """Compatible Unicode form, case folded, white space collapsed, outer punctuation removed."""
    words = unicodedata.normalize("NFKC", text).casefold().split()
    kept = " ".join(words)
    start, end = 0, len(kept)
    while start < end and _is_punctuation_or_space(kept[start]):
        start += 1
    while end > start and _is_punctuation_or_space(kept[end - 1]):
        end -= 1
    return kept[start:end]


def _is_punctuation_or_space(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")


def _exact_match(output: str, reference: str) -> float:
    return float(output.strip() == reference.strip())


def _normalised_match(output: str, reference: str) -> float:
    return float(normalise(output) == normalise(reference))


def _token_f1(output: str, reference: str) -> float:
    said, wanted = _words(output), _words(reference)
    if not said or not wanted:
        return float(said == wanted)
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total())


def _words(text: str) -> Counter[str]:
    return Counter(word for word in map(normalise, text.split()) if word)


_SCORES: Mapping[Metric, Callable[[str, str], float]] = {
    "exact_match": _exact_match,
    "normalised_match": _normalised_match,
    "token_f1": _token_f1,
}
