"""Answers of one option to records, by generating or by label scoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.data.records import Record
from tasks.data.templates import FIRST_ANSWER
from tasks.inference.decoding import Choose, generate
from tasks.inference.forward import forward_context
from tasks.inference.label_search import choose_labels
from tasks.inference.options import Answer, Answers, Option
from tasks.inference.prompts import PromptWriter
from tasks.inference.row_context import SharedPrefix, share_prefix
from tasks.inference.sampling import Sampler
from tasks.models.loading import LoadedBase, adapter_active


@dataclass(frozen=True)
class Request:
    """A record to be answered and the examples that stand in its prompt."""

    record: Record
    shots: Sequence[Record]
    prompt_tokens_before: int = 0
    """Of the first step of a chain."""
    output_tokens_before: int = 0


class Answerer:
    """Answers requests with one option on a loaded base. Make it within `option_active`."""

    def __init__(
        self, loaded: LoadedBase, option: Option, *, labels: Sequence[str] | None, max_new_tokens: int
    ) -> None:
        self._loaded = loaded
        self._labels = list(labels or ())
        self._scores_labels = option.decoding == "label_scoring"
        self._first = _first_step(loaded, option)
        self._max_new_tokens = max_new_tokens
        self._writer = PromptWriter(
            option, loaded.tokenizer, context_tokens=longest_prompt(loaded, max_new_tokens=max_new_tokens)
        )

    def answer(
        self,
        requests: Sequence[Request],
        *,
        token_budget: int,
        shared_prefix: SharedPrefix | None = None,
        sampler: Sampler | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Answer requests in batches of at most `token_budget` tokens; see `generate` for the other arguments.

        A `sampler` draws what is generated, in both steps of a chain.
        """
        requests = self._after_first_step(requests, token_budget=token_budget, sampler=sampler)
        prompts = self.prompts(requests)
        record = requests[0].record
        if self._scores_labels:
            outputs = self._scored(
                prompts, record, token_budget=token_budget, shared_prefix=shared_prefix, on_batch=on_batch
            )
        else:
            outputs = self._generated(
                prompts,
                record,
                token_budget=token_budget,
                shared_prefix=shared_prefix,
                choose=sampler,
                on_batch=on_batch,
            )
        return [
            Answer(
                request.record.record_id,
                text,
                prompt_tokens=len(prompt) + request.prompt_tokens_before,
                output_tokens=tokens + request.output_tokens_before,
            )
            for request, prompt, (text, tokens) in zip(requests, prompts, outputs, strict=True)
        ]

    def sample(
        self, requests: Sequence[Request], *, samples: int, sampler: Sampler, token_budget: int
    ) -> list[tuple[str, ...]]:
        """Return `samples` answers to each request, drawn by `sampler`; only of an option that generates."""
        repeated = [request for request in requests for _ in range(samples)]
        texts = [answer.output for answer in self.answer(repeated, token_budget=token_budget, sampler=sampler)]
        return [tuple(texts[start : start + samples]) for start in range(0, len(texts), samples)]

    def prompts(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return the prompts as token ids."""
        return [self._writer.prompt_ids(request.record, request.shots) for request in requests]

    def shared_prefix(self, requests: Sequence[Request]) -> SharedPrefix | None:
        """Run what the requests' prompts have in common once; a chain's are not known before its first answers."""
        if self._first is not None:
            return None
        return share_prefix(self._loaded.model, self.prompts(requests))

    def _after_first_step(
        self, requests: Sequence[Request], *, token_budget: int, sampler: Sampler | None
    ) -> Sequence[Request]:
        """Return the requests with what the first step of a chain said; of another prompt as they are."""
        if self._first is None:
            return requests
        said = self._first.answer(requests, token_budget=token_budget, sampler=sampler and sampler.other())
        return [_after(request, answer) for request, answer in zip(requests, said, strict=True)]

    def _generated(
        self,
        prompts: Sequence[Sequence[int]],
        record: Record,
        *,
        token_budget: int,
        shared_prefix: SharedPrefix | None,
        choose: Choose | None,
        on_batch: Callable[[int], None] | None,
    ) -> list[tuple[str, int]]:
        token_ids = generate(
            self._loaded.model,
            prompts,
            max_new_tokens=self._max_new_tokens,
            stop_ids=self._writer.stop_ids(record),
            pad_id=pad_token_id(self._loaded),
            token_budget=token_budget,
            shared_prefix=shared_prefix,
            is_complete=self._writer.is_complete,
            choose=choose,
            on_batch=on_batch,
        )
        return [(self._writer.text(ids), len(ids)) for ids in token_ids]

    def _scored(
        self,
        prompts: Sequence[Sequence[int]],
        record: Record,
        *,
        token_budget: int,
        shared_prefix: SharedPrefix | None,
        on_batch: Callable[[int], None] | None,
    ) -> list[tuple[str, int]]:
        label_ids = [self._writer.label_ids(record, label) for label in self._labels]
        chosen = choose_labels(
            self._loaded.model,
            prompts,
            label_ids=label_ids,
            pad_id=pad_token_id(self._loaded),
            token_budget=token_budget,
            shared_prefix=shared_prefix,
            on_batch=on_batch,
        )
        return [(self._labels[best], len(label_ids[best])) for best in chosen]


def _first_step(loaded: LoadedBase, option: Option) -> Answerer | None:
    if option.first is None:
        return None
    step = replace(option, template=option.first, first=None, decoding="generate")
    return Answerer(loaded, step, labels=None, max_new_tokens=option.first_max_new_tokens)


def _after(request: Request, said: Answer) -> Request:
    metadata = {**request.record.metadata, FIRST_ANSWER: said.output.strip()}
    return Request(replace(request.record, metadata=metadata), request.shots, said.prompt_tokens, said.output_tokens)


@contextmanager
def option_active(loaded: LoadedBase, option: Option, *, adapters: Path) -> Iterator[None]:
    """Run the block with the option's adapter on the base, if it has one, in the precision of training."""
    with forward_context(loaded):
        if option.adapter is None:
            yield
        else:
            with adapter_active(loaded, adapters / option.adapter):
                yield


def measure_answers(
    answerer: Answerer,
    requests: Sequence[Request],
    *,
    latency_records: int,
    token_budget: int,
    on_batch: Callable[[int], None],
) -> Answers:
    """Answer all requests in batches, then the first `latency_records` of them again, one at a time."""
    start = time.perf_counter()
    answers = answerer.answer(requests, token_budget=token_budget, on_batch=on_batch)
    seconds = time.perf_counter() - start
    return Answers(
        answers=tuple(answers),
        records_per_second=len(requests) / seconds,
        latency_seconds=_latencies(answerer, requests, count=latency_records, token_budget=token_budget),
    )


def longest_prompt(loaded: LoadedBase, *, max_new_tokens: int) -> int:
    """Return how many tokens a prompt may have so that the answer still fits into the model's context."""
    config = loaded.model.config.get_text_config(decoder=True)
    return int(config.max_position_embeddings) - max_new_tokens


def pad_token_id(loaded: LoadedBase) -> int:
    """Return the padding token; any token will do where there is none, since padding is never looked at."""
    return int(loaded.tokenizer.pad_token_id or 0)


def _latencies(answerer: Answerer, requests: Sequence[Request], *, count: int, token_budget: int) -> tuple[float, ...]:
    """Time single requests; what all prompts share is run before, as a server would."""
    if count == 0:
        return ()
    shared = answerer.shared_prefix(requests)
    seconds = []
    for request in requests[:count]:
        start = time.perf_counter()
        answerer.answer([request], token_budget=token_budget, shared_prefix=shared)
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)
