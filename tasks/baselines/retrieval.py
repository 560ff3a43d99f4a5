"""The classical option where answers are free text: the completion of the training record that is most alike.

What says nothing more than this is of no use, so a fine-tune has to beat it. Always giving the commonest completion is
tried too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import DataError
from configs.metric_names import Metric
from tasks.baselines.classical_classifier import ChosenSettings, Settings
from tasks.data.records import Record
from tasks.inference.options import Answer, Answers
from tasks.metrics.task_metrics import score_rows

_CHARACTER_NGRAMS = (2, 5)
_QUERIES_AT_ONCE = 256
"""Queries compared with all training records at a time: 20 MB of similarities for 10,000 records."""
_METHOD = "answer_of"

SETTINGS_TRIED: tuple[Settings, ...] = (((_METHOD, "nearest"),), ((_METHOD, "commonest"),))


def is_retrieval(settings: Settings) -> bool:
    """Whether settings are of this room's option, and not of the classifier."""
    return _METHOD in dict(settings)


def choose_retrieval(
    train: Sequence[Record],
    validation: Sequence[Record],
    *,
    metric: Metric,
    json_schema: Mapping[str, Any] | None = None,
) -> ChosenSettings:
    """Answer the validation records with each of `SETTINGS_TRIED` and take the best.

    Args:
        train: exactly the records that the fine-tune may use.
        validation: records that choose.
        metric: as in `evaluation.metric`.
        json_schema: as in `data.json_schema`.

    Raises:
        DataError: there are no training records.
    """
    references, record_ids = [each.completion for each in validation], [each.record_id for each in validation]
    tried = []
    for settings in SETTINGS_TRIED:
        outputs = _Memory(train, settings).answers(validation)
        scores = score_rows(metric, outputs, references, json_schema=json_schema, record_ids=record_ids)
        tried.append((settings, float(scores.mean())))
    best, value = max(tried, key=lambda pair: pair[1])
    return ChosenSettings(best, value, tuple(tried))


def retrieve_answers(
    train: Sequence[Record], queries: Sequence[Record], *, settings: Settings, latency_records: int
) -> Answers:
    """Answer the queries out of the training records; the same input gives the same outputs.

    Args:
        train: exactly the records that the fine-tune may use.
        queries: records to answer; their completions are not looked at.
        settings: from `choose_retrieval`.
        latency_records: so many queries are also answered one at a time, to measure latency.

    Raises:
        DataError: there are no training records.
    """
    memory = _Memory(train, settings)
    started = time.perf_counter()
    outputs = memory.answers(queries)
    seconds = max(time.perf_counter() - started, 1e-9)
    return Answers(
        answers=tuple(
            Answer(record.record_id, output, prompt_tokens=0, output_tokens=0)
            for record, output in zip(queries, outputs, strict=True)
        ),
        records_per_second=len(queries) / seconds,
        latency_seconds=tuple(_seconds(memory, record) for record in queries[:latency_records]),
    )


class _Memory:
    """Training records, ready to be asked; their order does not matter."""

    def __init__(self, train: Sequence[Record], settings: Settings) -> None:
        if not train:
            raise DataError("nothing is left to train on: there is no training record; check data.split and the rules")
        self._records = sorted(train, key=lambda record: record.record_id)
        self._commonest = Counter(record.completion for record in self._records).most_common(1)[0][0]
        self._vectorizer = self._known = None
        if dict(settings)[_METHOD] == "nearest":
            self._remember_prompts()

    def answers(self, queries: Sequence[Record]) -> list[str]:
        if self._vectorizer is None:
            return [self._commonest for _ in queries]
        asked = self._vectorizer.transform([query.prompt for query in queries])
        outputs = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            similar = (asked[start : start + _QUERIES_AT_ONCE] @ self._known.T).toarray()
            outputs += [
                self._records[place].completion if row[place] > 0 else self._commonest
                for row, place in zip(similar, similar.argmax(axis=1), strict=True)
            ]
        return outputs

    def _remember_prompts(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=_CHARACTER_NGRAMS, sublinear_tf=True)
        try:
            self._known = vectorizer.fit_transform([record.prompt for record in self._records])
        except ValueError:  # no prompt has a single n-gram: nothing is near to anything
            return
        self._vectorizer = vectorizer


def _seconds(memory: _Memory, record: Record) -> float:
    started = time.perf_counter()
    memory.answers([record])
    return time.perf_counter() - started
