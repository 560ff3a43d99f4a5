"""Small scorecards for the tests of evaluation and promotion."""

from collections.abc import Sequence

from configs.schema import Economics, Evaluation
from tasks.data.records import Record, Turn
from tasks.evaluation.scorecards import Scorecard, make_scorecard
from tasks.evaluation.scored_answers import score_answers
from tasks.evaluation.slices import EvaluationRows, evaluation_rows
from tasks.inference.options import Answer, Answers, Option, OptionKind

LABELS = ("yes", "no")


def make_records(count: int, *, group_size: int = 1) -> list[Record]:
    return [
        Record(
            record_id=f"r{i}",
            split="test",
            group=f"g{i // group_size}",
            turns=(Turn("user", "x" * (1 + i % 30)),),
            completion=LABELS[i % 2],
            metadata={"site": "north" if i < count // 4 else "south"},
        )
        for i in range(count)
    ]


def make_rows(records: Sequence[Record]) -> EvaluationRows:
    return evaluation_rows(records, slice_by=("label", "site"), labels=LABELS)


def make_answers(records: Sequence[Record], wrong: Sequence[int] | range, *, rate: float = 10.0) -> Answers:
    outputs = ["wrong" if i in set(wrong) else record.completion for i, record in enumerate(records)]
    return Answers(
        answers=tuple(
            Answer(record.record_id, output, prompt_tokens=20, output_tokens=2)
            for record, output in zip(records, outputs, strict=True)
        ),
        records_per_second=rate,
        latency_seconds=tuple(i / 100 for i in range(1, 25)),
    )


def make_card(
    records: Sequence[Record],
    wrong: Sequence[int] | range,
    *,
    name: str = "candidate",
    kind: OptionKind = "candidate",
    rate: float = 10.0,
    training_seconds: float = 0.0,
    economics: Economics | None = None,
) -> Scorecard:
    rows, evaluation = make_rows(records), Evaluation(bootstrap_resamples=200)
    answers = make_answers(records, wrong, rate=rate)
    return make_scorecard(
        score_answers(Option(name, kind), answers, records, rows=rows, labels=LABELS, evaluation=evaluation),
        rows=rows,
        evaluation=evaluation,
        economics=economics or Economics(),
        training_seconds=training_seconds,
        seconds_saved_by_pruning=0.0,
        seed=1,
    )
