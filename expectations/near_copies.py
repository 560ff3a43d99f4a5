"""Near-exact copies: the same text but for signs, accents, spacing, one typing error, or a few words of many.

Three ways, each linear in the length of all texts apart from small buckets of look-alikes:

1. equal after accents, sentence signs and spaces are taken away;
2. for texts of up to `SHORT_WORDS` words: one word differs, by one typing error (insertion, deletion, substitution or
   swap of neighbours; Damerau, "A technique for computer detection and correction of spelling errors", 1964);
3. for longer ones: Jaccard similarity of word triples at least `similarity`; look-alikes share one of the smallest
   triple hashes (a bottom-k sketch; Broder, "On the resemblance and containment of documents", 1997).

Texts with different numbers are never near copies: they ask for different answers.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

SHORT_WORDS = 40
_FEWEST_WORDS = 4
_FEWEST_LETTERS = 20
_SHORTEST_TYPO_WORD = 5
_SKETCH = 8
_LARGEST_BUCKET = 200
_SENTENCE_SIGNS = re.compile(r"(?<!\d)[.,:](?!\d)|[.,:](?!\w)|[;!?\"'“”„‘’«»…¿¡]|(?<=[^\W\d_])[-‐‑–—](?=[^\W\d_])")


def near_copies(texts: Sequence[str], similarity: float) -> Iterator[tuple[int, int]]:
    """Yield index pairs of texts that are near copies of each other, but not equal; a pair may come twice.

    Args:
        texts: already normalised in case and spacing.
        similarity: smallest Jaccard similarity of the word triples of long texts.
    """
    plain = [_plain(text) for text in texts]
    for first, second in _candidate_pairs(plain):
        if texts[first] != texts[second] and _is_near_copy(plain[first], plain[second], similarity):
            yield first, second


def is_respelling(first: str, second: str) -> bool:
    """Whether two short texts differ by case, accents, signs, spacing or one typing error only."""
    return _is_near_copy(_plain(first.casefold()), _plain(second.casefold()), 1.0)


def _plain(text: str) -> str:
    """Without accents and sentence signs; operators and decimal points stay, since they carry meaning."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(_SENTENCE_SIGNS.sub(" ", text).split())


def _candidate_pairs(plain: Sequence[str]) -> Iterator[tuple[int, int]]:
    buckets: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, text in enumerate(plain):
        for key in _bucket_keys(text):
            buckets[key].append(index)
    for members in buckets.values():
        if 2 <= len(members) <= _LARGEST_BUCKET:
            yield from ((first, second) for i, first in enumerate(members) for second in members[i + 1 :])


def _bucket_keys(text: str) -> Iterable[Hashable]:
    words = text.split()
    yield _squeezed(text)
    if len(words) > SHORT_WORDS:
        yield from sorted(_triples(words))[:_SKETCH]
    elif len(words) >= _FEWEST_WORDS and len(text) >= _FEWEST_LETTERS:
        for position, word in enumerate(words):
            if len(word) >= _SHORTEST_TYPO_WORD and word.isalpha():
                rest = hash((position, *words[:position], *words[position + 1 :]))
                yield from ((rest, part) for part in _typo_parts(word))


def _typo_parts(word: str) -> tuple[str, str]:
    """Both ends of a word: one typing error in five or more letters leaves at least one of them as it was."""
    return f"^{word[:2]}", f"{word[-2:]}$"


def _is_near_copy(first: str, second: str, similarity: float) -> bool:
    if _squeezed(first) == _squeezed(second):
        return len(_squeezed(first)) >= 3
    first_words, second_words = first.split(), second.split()
    if min(len(first_words), len(second_words)) > SHORT_WORDS:
        same_numbers = _numbers(first_words) == _numbers(second_words)
        return same_numbers and _jaccard(_triples(first_words), _triples(second_words)) >= similarity
    if len(first_words) != len(second_words):
        return False
    differing = [pair for pair in zip(first_words, second_words, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and _is_typo(*differing[0])


def _squeezed(text: str) -> str:
    return text.replace(" ", "")


def _numbers(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if any(character.isdigit() for character in word))


def _triples(words: Sequence[str]) -> set[int]:
    return {zlib.crc32(" ".join(words[i : i + 3]).encode("utf-8", "surrogatepass")) for i in range(len(words) - 2)}


def _jaccard(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second)


def _is_typo(first: str, second: str) -> bool:
    """Whether two words are one insertion, deletion, substitution or swap of neighbouring letters apart."""
    if min(len(first), len(second)) < _SHORTEST_TYPO_WORD or not (first + second).isalpha():
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    a, b = first[start:], second[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else b[1:] == a
