"""A look at validation while training: the recipe's metric on answers of the model as it is now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.data.records import Record
from tasks.inference.answering import Answerer, Request
from tasks.inference.forward import forward_context
from tasks.inference.options import Option
from tasks.metrics.task_metrics import score_rows
from tasks.models.loading import LoadedBase
from tasks.training.arguments import TrainArguments


def make_look(loaded: LoadedBase, records: Sequence[Record], arguments: TrainArguments) -> Callable[[], float]:
    """Return the function that scores the model as it is when called, just as the finished candidate will be scored."""
    option = Option(
        name="candidate in training",
        kind="candidate",
        template=arguments.template,
        decoding=arguments.decoding,
        # Its layers are on the base already; the name only says that there is one, which knows the end token.
        adapter=arguments.training_key,
    )
    answerer = Answerer(loaded, option, labels=arguments.labels, max_new_tokens=arguments.max_new_tokens)
    requests = [Request(record, shots=()) for record in records]
    references = [record.completion for record in records]
    record_ids = [record.record_id for record in records]

    def look() -> float:
        with forward_context(loaded):
            answers = answerer.answer(requests, token_budget=arguments.token_budget)
        outputs = [answer.output for answer in answers]
        scores = score_rows(
            arguments.metric, outputs, references, json_schema=arguments.json_schema, record_ids=record_ids
        )
        return float(scores.mean())

    return look
