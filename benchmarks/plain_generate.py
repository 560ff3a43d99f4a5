"""The other side of `benchmarks.scoring_speed`: transformers' own `generate` answers the same prompts.

`python -m benchmarks.plain_generate` reads `Arguments` as JSON and writes a list of `Answered` as JSON, one for each
batch size. Timed is what Burnish's job times: from records to texts, with the model loaded and used once before.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from configs.schema import Precision, Section
from tasks.inference.answering import Request
from tasks.inference.batching import common_prefix_length
from tasks.inference.jobs import AnswerArguments, make_requests
from tasks.inference.prompts import PromptWriter
from tasks.models.tokenizer import load_tokenizer

Way = Literal["plain", "cached"]

WARM_UP_RECORDS = 2

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Arguments(Section):
    """What is to be answered, and how."""

    base: Path
    """Directory of the imported base."""
    precision: Precision
    """Of the base."""
    device: str
    """As torch names it."""
    way: Way
    """`plain` runs whole prompts; `cached` runs what they share once."""
    batch_sizes: tuple[int, ...]
    """Prompts at once; everything is answered once with each."""
    task: AnswerArguments
    """As Burnish's job `answer` is asked it."""


@dataclass(frozen=True)
class Answered:
    """All answers with one batch size."""

    batch_size: int
    seconds: float
    texts: list[str]


class Generator:
    """Answers with `model.generate`, greedily, until the end token or the separator of the examples."""

    def __init__(self, arguments: Arguments) -> None:
        # as from_pretrained leaves it, with weights that require gradients: frozen ones would make the output layer
        # multiply row by row on CPU, many times slower
        self._model = AutoModelForCausalLM.from_pretrained(
            arguments.base, dtype=_DTYPES[arguments.precision], attn_implementation="sdpa", local_files_only=True
        ).to(arguments.device)
        self._device, self._way = arguments.device, arguments.way
        self._max_new_tokens = arguments.task.max_new_tokens
        tokenizer = load_tokenizer(arguments.base)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        longest = self._model.config.get_text_config().max_position_embeddings - self._max_new_tokens
        self._writer = PromptWriter(arguments.task.option, tokenizer, context_tokens=longest)

    def answer(self, requests: Sequence[Request], batch_size: int) -> list[str]:
        """Answer in batches of prompts of about the same length."""
        prompts = [self._writer.prompt_ids(request.record, request.shots) for request in requests]
        shared = common_prefix_length(prompts) if self._way == "cached" else 0
        cache = self._filled_cache(prompts[0][:shared]) if shared else None
        stop_ids = sorted(self._writer.stop_ids(requests[0].record))
        order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            answers = self._generate([prompts[number] for number in batch], shared, cache=cache, stop_ids=stop_ids)
            for number, token_ids in zip(batch, answers, strict=True):
                texts[number] = self._writer.text(token_ids)  # leaves out what is special: end and padding
        return texts

    @torch.no_grad()
    def _filled_cache(self, token_ids: Sequence[int]) -> Any:
        cache = DynamicCache(config=self._model.config)
        tokens = torch.tensor([token_ids], device=self._device)
        self._model(input_ids=tokens, past_key_values=cache, logits_to_keep=1)
        return cache

    def _generate(
        self, prompts: Sequence[Sequence[int]], shared: int, *, cache: Any, stop_ids: Sequence[int]
    ) -> list[list[int]]:
        """Return the new tokens of each prompt; padding stands after the `shared` tokens, which the cache knows."""
        longest = max(len(prompt) for prompt in prompts)
        missing = [longest - len(prompt) for prompt in prompts]
        tokens = [
            [*prompt[:shared], *[self._pad_id] * gap, *prompt[shared:]]
            for prompt, gap in zip(prompts, missing, strict=True)
        ]
        seen = [[1] * shared + [0] * gap + [1] * (longest - shared - gap) for gap in missing]
        filled = {}
        if cache is not None:
            filled["past_key_values"] = copy.deepcopy(cache)
            filled["past_key_values"].batch_repeat_interleave(len(prompts))
        output = self._model.generate(
            input_ids=torch.tensor(tokens, device=self._device),
            attention_mask=torch.tensor(seen, device=self._device),
            max_new_tokens=self._max_new_tokens,
            do_sample=False,
            eos_token_id=list(stop_ids),
            pad_token_id=self._pad_id,
            stopping_criteria=self._stopping_criteria(longest),
            **filled,
        )
        answers: list[list[int]] = output[:, longest:].tolist()
        return answers

    def _stopping_criteria(self, prompt_tokens: int) -> list[Callable[..., torch.Tensor]]:
        is_complete = self._writer.is_complete
        if is_complete is None:
            return []

        def ended(token_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            rows = token_ids[:, prompt_tokens:].tolist()
            return torch.tensor([is_complete(row) for row in rows], device=token_ids.device)

        return [ended]


def main() -> None:
    """Answer as asked on standard input."""
    arguments = Arguments.model_validate_json(sys.stdin.read())
    generator = Generator(arguments)
    requests = make_requests(arguments.task)
    generator.answer(requests[:WARM_UP_RECORDS], WARM_UP_RECORDS)
    results = []
    for batch_size in arguments.batch_sizes:
        start = time.perf_counter()
        texts = generator.answer(requests, batch_size)
        results.append(Answered(batch_size, time.perf_counter() - start, texts))
    print(json.dumps([asdict(result) for result in results]))


if __name__ == "__main__":
    main()
