"""Scores of single answers: each between 0 and 1, higher is better."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.metric_names import Metric
from tasks.metrics.json_answers import field_f1, json_check
from tasks.metrics.text_overlap import bleu, chrf, rouge_l
from tasks.metrics.tool_calls import tool_calls_match
from tasks.metrics.user_metrics import is_user_metric, score_by_user_metric


def score_rows(
    metric: Metric,
    outputs: Sequence[str],
    references: Sequence[str],
    *,
    json_schema: Mapping[str, Any] | None = None,
    record_ids: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """Score each output against its reference.

    Args:
        metric: `exact_match` ignores outer white space; `normalised_match` also case, Unicode form, inner white
            space, outer quotes and what ends a sentence; `token_f1` is the F1 of words without outer punctuation, as
            SQuAD counts them; `rouge_l`, `chrf` and `bleu` are those of `text_overlap`, `json_valid` and
            `json_fields` those of `json_answers`. Texts of which nothing would be left are compared as they are.
            `tool_call_match` compares the tools that are called, in order, with their arguments as JSON, and what is
            said beside them.
        outputs: What the option said, by record.
        references: What was wanted, in the same order.
        json_schema: What `json_valid` holds outputs against; None: any JSON.
        record_ids: In the same order, to name the record at which a user's metric fails; None: their numbers.

    Returns:
        Scores in [0, 1], shape [records].

    Raises:
        ValueError: `outputs` and `references` differ in length.
        MetricFailed: a user's metric raised an error or returned no score.
        RecipeError: a user's metric isn't installed, or the schema is none.
    """
    if is_user_metric(metric):
        ids = record_ids if record_ids is not None else [str(number) for number in range(1, len(outputs) + 1)]
        return np.array(score_by_user_metric(metric, outputs, references, ids), dtype=float)
    score = _json_valid(json_schema) if metric == "json_valid" else _SCORES[metric]
    return np.array([score(output, wanted) for output, wanted in zip(outputs, references, strict=True)], dtype=float)


def is_binary(metric: Metric) -> bool:
    """Whether the metric scores each record 0 or 1, so that its mean is a proportion."""
    return metric in _BINARY


def macro_f1(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Mean over the reference labels of each label's F1; a label that is never said has F1 0."""
    said = Counter(output.strip() for output in outputs)
    wanted = Counter(reference.strip() for reference in references)
    pairs = zip(outputs, references, strict=True)
    right = Counter(reference.strip() for output, reference in pairs if output.strip() == reference.strip())
    return float(np.mean([2 * right[label] / (said[label] + wanted[label]) for label in wanted]))


def normalise(text: str) -> str:
    """Compatible Unicode form, case folded, white space collapsed; outer quotes and what ends a sentence removed.

    A sign, a `#`, a `%` or a bracket with its partner may be what the answer says, so they stay.
    """
    kept = _folded(text)
    while kept and _only_opens(kept[0]):
        kept = kept[1:].lstrip()
    while kept and _only_ends(kept):
        kept = kept[:-1].rstrip()
    return kept


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _is_quote(character: str) -> bool:
    return character in "\"'" or unicodedata.category(character) in ("Pi", "Pf")


def _only_opens(character: str) -> bool:
    return _is_quote(character) or character in "„‚"


def _only_ends(text: str) -> bool:
    """Whether the last character says nothing: a quote, a mark that ends a sentence, a bracket without its partner."""
    last = text[-1]
    partner = {")": "(", "]": "[", "}": "{"}.get(last)
    if partner is not None:
        return text.count(partner) < text.count(last)
    return last in ".,;:!?" or _is_quote(last)


def _exact_match(output: str, reference: str) -> float:
    return float(output.strip() == reference.strip())


def _normalised_match(output: str, reference: str) -> float:
    said, wanted = normalise(output), normalise(reference)
    if not said or not wanted:
        return _exact_match(output, reference)
    return float(said == wanted)


def _tool_call_match(output: str, reference: str) -> float:
    return float(tool_calls_match(output, reference))


def _token_f1(output: str, reference: str) -> float:
    said, wanted = _words(output), _words(reference)
    if not said or not wanted:
        return _normalised_match(output, reference)
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total())


def _words(text: str) -> Counter[str]:
    return Counter(word for word in map(_bare, _folded(text).split()) if word)


def _bare(word: str) -> str:
    """The word without any outer punctuation."""
    kept = [place for place, character in enumerate(word) if not unicodedata.category(character).startswith("P")]
    return word[kept[0] : kept[-1] + 1] if kept else ""


def _json_valid(schema: Mapping[str, Any] | None) -> Callable[[str, str], float]:
    is_valid = json_check(schema)
    return lambda output, _: float(is_valid(output))


_BINARY = frozenset({"exact_match", "normalised_match", "json_valid", "tool_call_match"})
_SCORES: Mapping[str, Callable[[str, str], float]] = {
    "exact_match": _exact_match,
    "normalised_match": _normalised_match,
    "token_f1": _token_f1,
    "rouge_l": rouge_l,
    "chrf": chrf,
    "bleu": bleu,
    "json_fields": field_f1,
    "tool_call_match": _tool_call_match,
}
