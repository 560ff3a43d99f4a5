"""Which training records stand as examples in each prompt. No torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from configs.errors import RecipeError
from tasks.data.records import Record
from tasks.inference.options import ShotStrategy

_CHARACTER_NGRAMS = (2, 5)
_QUERIES_AT_ONCE = 256
"""Queries compared with all training records at a time: 20 MB of similarities for 10,000 records."""


def choose_shots(
    strategy: ShotStrategy,
    count: int,
    train_records: Sequence[Record],
    queries: Sequence[Record],
    *,
    seed: int,
    labels: Sequence[str] | None,
    order: int = 0,
) -> list[list[Record]]:
    """Return the examples for each query, in the order in which they stand in the prompt.

    Args:
        strategy: `random` and `balanced` give all queries the same examples; `nearest` gives each the training records
            with the most similar prompt (cosine of TF-IDF over character n-grams), the most similar one last;
            `none` gives none.
        count: examples for each query; fewer where there are fewer training records.
        train_records: exactly the records that a fine-tune may use. A query among them is never its own example.
        queries: the records to be answered; their completions are not looked at.
        seed: of the random choices; the order of the training records does not matter.
        labels: the closed label set, which `balanced` needs.
        order: 0: as they were picked; 1: the other way round; above: shuffled, alike for all queries.

    Raises:
        RecipeError: `balanced` without labels.
    """
    if strategy == "none" or count == 0 or not train_records:
        return [[] for _ in queries]
    ordered = sorted(train_records, key=lambda record: record.record_id)
    if strategy == "nearest":
        return [_in_order(shots, order, seed=seed) for shots in _nearest(count, ordered, queries)]
    # one more than asked for, so that a query that is among them can do without itself
    pool = (
        _random(count + 1, ordered, seed=seed)
        if strategy == "random"
        else _balanced(count + 1, ordered, seed=seed, labels=labels)
    )
    picked = [[shot for shot in pool if shot.record_id != query.record_id][:count] for query in queries]
    return [_in_order(shots, order, seed=seed) for shots in picked]


def _in_order(shots: list[Record], order: int, *, seed: int) -> list[Record]:
    return [shots[place] for place in _places(len(shots), order, seed=seed)]


def _places(count: int, order: int, *, seed: int) -> tuple[int, ...]:
    """The order of that number: each is another one, as long as there are any."""
    orders = list(dict.fromkeys((tuple(range(count)), tuple(range(count))[::-1])))
    generator = np.random.default_rng([seed, count])
    while len(orders) <= order < math.factorial(count):
        drawn = tuple(generator.permutation(count).tolist())
        orders += [drawn] if drawn not in orders else []
    return orders[order % len(orders)]


def _random(count: int, records: Sequence[Record], *, seed: int) -> list[Record]:
    order = np.random.default_rng(seed).permutation(len(records))
    return [records[index] for index in order[:count]]


def _balanced(count: int, records: Sequence[Record], *, seed: int, labels: Sequence[str] | None) -> list[Record]:
    """Deal one random record of each label, in a random order of the labels, until there are `count`."""
    if not labels:
        raise RecipeError(
            "baseline.strategies names balanced, which needs a closed label set, and data.labels is not set; "
            "set data.labels, or remove balanced"
        )
    generator = np.random.default_rng(seed)
    by_label: dict[str, list[Record]] = defaultdict(list)
    for index in generator.permutation(len(records)):
        by_label[records[index].completion].append(records[index])
    known = [label for label in sorted(set(labels)) if by_label[label]]
    hands = [by_label[known[index]] for index in generator.permutation(len(known))]
    rounds = max((len(hand) for hand in hands), default=0)
    return [hand[turn] for turn in range(rounds) for hand in hands if turn < len(hand)][:count]


def _nearest(count: int, records: Sequence[Record], queries: Sequence[Record]) -> list[list[Record]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=_CHARACTER_NGRAMS, sublinear_tf=True)
    try:
        known = vectorizer.fit_transform([record.prompt for record in records])
    except ValueError:  # no prompt has a single n-gram: nothing is near to anything
        return [list(records[:count]) for _ in queries]
    asked = vectorizer.transform([query.prompt for query in queries])
    own_place = {record.record_id: place for place, record in enumerate(records)}
    chosen = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        similarities = (asked[start : start + _QUERIES_AT_ONCE] @ known.T).toarray()
        for query, row in zip(queries[start : start + _QUERIES_AT_ONCE], similarities, strict=True):
            if query.record_id in own_place:
                row[own_place[query.record_id]] = -1.0
            best = np.argsort(-row, kind="stable")[:count][::-1]
            chosen.append([records[place] for place in best if row[place] >= 0])
    return chosen
