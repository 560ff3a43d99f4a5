"""How much of a reference's wording an answer has: ROUGE-L, chrF and BLEU of one sentence or text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any

_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"  # no spaces between words
    r"|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+"
)


def rouge_l(output: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, β = 1), case and punctuation ignored.

    Equal to `rouge-score` on ASCII text without stemming; that package's tokenizer knows no other letters, so
    Greek or Arabic would score 0 there. Texts without words are compared as they are.
    """
    said, wanted = _TOKEN.findall(output.lower()), _TOKEN.findall(reference.lower())
    if not said or not wanted:
        return float(output.strip() == reference.strip())
    return 2 * longest_common_subsequence(said, wanted) / (len(said) + len(wanted))


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length, by bit-parallel dynamic programming (Hyyrö 2004): a row of the table is one long integer."""
    places: defaultdict[str, int] = defaultdict(int)
    for place, token in enumerate(one):
        places[token] |= 1 << place
    everything = (1 << len(one)) - 1
    row = everything
    for token in other:
        matched = row & places[token]
        row = ((row + matched) | (row - matched)) & everything
    return len(one) - row.bit_count()


def chrf(output: str, reference: str) -> float:
    """Character n-gram F2 (Popović 2015), sacrebleu's chrF2 of one sentence over 100."""
    return _sentence_score(_chrf(), output, reference)


def bleu(output: str, reference: str) -> float:
    """Sentence BLEU, sacrebleu's over 100: its 13a tokens, exponential smoothing, effective order for short texts."""
    return _sentence_score(_bleu(), output, reference)


def _sentence_score(metric: Any, output: str, reference: str) -> float:
    said, wanted = output.strip(), reference.strip()
    if said == wanted or not said or not wanted:
        return float(said == wanted)
    return min(1.0, max(0.0, float(metric.sentence_score(said, [wanted]).score) / 100))


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF  # with lxml, too slow to import where it is not used

    return CHRF()


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True)
