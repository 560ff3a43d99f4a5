"""The classical option: TF-IDF of words and character n-grams with a linear support vector classifier."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from configs.errors import DataError
from configs.metric_names import Metric
from tasks.data.records import Record
from tasks.inference.options import Answer, Answers, Option
from tasks.metrics.task_metrics import score_rows

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


Settings = tuple[tuple[str, float | int | str], ...]
"""Name and value pairs, as they stand in `Option.classical_settings`."""

_CHARACTER_NGRAMS = (2, 5)
_WORD_NGRAMS = (1, 2)
_PENALTIES = (0.1, 0.3, 1.0)
_CLASS_WEIGHTS = ("none", "balanced")

SETTINGS_TRIED: tuple[Settings, ...] = tuple(
    (("word_ngrams", words), ("penalty_c", penalty), ("class_weight", weight))
    for words, penalty, weight in product(_WORD_NGRAMS, _PENALTIES, _CLASS_WEIGHTS)
)
"""What `choose_settings` compares. Logistic regression scored lower on ICD-10 and took twenty times as long."""


@dataclass(frozen=True)
class ChosenSettings:
    """The settings that won on validation, and how well all did."""

    settings: Settings
    value: float
    """Mean score on validation of the chosen settings."""
    tried: tuple[tuple[Settings, float], ...]


def choose_settings(
    train: Sequence[Record],
    validation: Sequence[Record],
    *,
    metric: Metric,
    seed: int,
    json_schema: Mapping[str, Any] | None = None,
) -> ChosenSettings:
    """Fit on the training records with each of `SETTINGS_TRIED` and take the best on validation.

    Args:
        train: exactly the records that the fine-tune may use.
        validation: records that choose.
        metric: as in `evaluation.metric`.
        json_schema: as in `data.json_schema`.
        seed: of the solver.

    Raises:
        DataError: the training records have fewer than two labels or no text.
    """
    _check_training_records(train)
    references, record_ids = [each.completion for each in validation], [each.record_id for each in validation]
    tried: list[tuple[Settings, float]] = []
    for words in _WORD_NGRAMS:
        features = _features(train, words)
        known, asked = features.fit_transform(_texts(train)), features.transform(_texts(validation))
        for settings in (each for each in SETTINGS_TRIED if dict(each)["word_ngrams"] == words):
            classifier = _classifier(settings, seed).fit(known, [record.completion for record in train])
            outputs = [str(label) for label in classifier.predict(asked)]
            scores = score_rows(metric, outputs, references, json_schema=json_schema, record_ids=record_ids)
            tried.append((settings, float(scores.mean())))
    best, value = max(tried, key=lambda pair: pair[1])
    return ChosenSettings(best, value, tuple(tried))


def fit_and_answer(
    train: Sequence[Record], queries: Sequence[Record], *, settings: Settings, seed: int, latency_records: int
) -> Answers:
    """Fit on the training records and answer the queries; the same input gives the same outputs.

    Args:
        train: exactly the records that the fine-tune may use.
        queries: records to answer; their completions are not looked at.
        settings: from `choose_settings`.
        seed: of the solver.
        latency_records: so many queries are also answered one at a time, to measure latency.

    Raises:
        DataError: the training records have fewer than two labels or no text.
    """
    from sklearn.pipeline import make_pipeline

    _check_training_records(train)
    words = int(dict(settings)["word_ngrams"])
    pipeline = make_pipeline(_features(train, words), _classifier(settings, seed))
    pipeline.fit(_texts(train), [record.completion for record in train])
    started = time.perf_counter()
    outputs = pipeline.predict(_texts(queries)) if queries else []
    seconds = time.perf_counter() - started
    return Answers(
        answers=tuple(
            Answer(record.record_id, str(output), prompt_tokens=0, output_tokens=0)
            for record, output in zip(queries, outputs, strict=True)
        ),
        records_per_second=len(queries) / seconds,
        latency_seconds=tuple(_answer_seconds(pipeline, record) for record in queries[:latency_records]),
    )


def classical_option(settings: Settings) -> Option:
    """Return the option that stands for the classifier with these settings."""
    return Option(name="classical", kind="classical", decoding="label_scoring", classical_settings=settings)


def _check_training_records(train: Sequence[Record]) -> None:
    strangers = [record.record_id for record in train if record.split != "train"]
    if strangers:
        raise ValueError(f"only training records may train the classifier, got {strangers[:5]} of other splits")
    labels = {record.completion for record in train}
    if len(labels) < 2:
        raise DataError(
            f"the classical classifier needs training records of at least 2 labels, found {len(labels)}; "
            "check data.columns.completion, or set baseline.classical: false"
        )
    if not any(text.strip() for text in _texts(train)):
        raise DataError(
            "the classical classifier needs training records with text, found only empty prompts; "
            "check data.columns.prompt, or set baseline.classical: false"
        )


def _texts(records: Sequence[Record]) -> list[str]:
    return [record.prompt for record in records]


def _features(train: Sequence[Record], word_ngrams: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=_CHARACTER_NGRAMS, sublinear_tf=True)
    # A vectoriser refuses a vocabulary of nothing, so records without a single word go by their characters alone.
    if not any(re.search(r"\w\w", text) for text in _texts(train)):
        return characters
    return make_union(TfidfVectorizer(ngram_range=(1, word_ngrams), sublinear_tf=True), characters)


def _classifier(settings: Settings, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    values = dict(settings)
    weight = None if values["class_weight"] == "none" else values["class_weight"]
    return LinearSVC(C=float(values["penalty_c"]), class_weight=weight, random_state=seed)


def _answer_seconds(pipeline: Pipeline, record: Record) -> float:
    started = time.perf_counter()
    pipeline.predict([record.prompt])
    return time.perf_counter() - started
