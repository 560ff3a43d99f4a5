"""What an option puts before the model: prompts and labels as tokens, and where its answers end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from configs.errors import RecipeError
from configs.schema import Template
from tasks.data.records import Record
from tasks.data.templates import render
from tasks.data.tokens import encode_completion, encode_prompt, end_token_id
from tasks.inference.options import Option

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase


class PromptWriter:
    """Writes the prompts of one option and reads its answers."""

    def __init__(self, option: Option, tokenizer: PreTrainedTokenizerBase, *, context_tokens: int) -> None:
        """Prepare.

        Args:
            option: a prompt, a candidate or a champion.
            tokenizer: of the base model.
            context_tokens: longest prompt that the base model can take.

        Raises:
            RecipeError: the option has no template.
        """
        if option.template is None:
            raise RecipeError(f"option {option.name!r} has no template, so no model can answer it")
        self._template: Template = option.template
        self._tokenizer = tokenizer
        # each example is a record, so it may be as long as one
        self._max_tokens = min(self._template.max_tokens * (option.shots + 1), context_tokens)
        shows_separator = option.adapter is None and self._template.kind == "text"
        self._separator = self._template.separator if shows_separator else ""

    def prompt_ids(self, record: Record, shots: Sequence[Record]) -> list[int]:
        """Return the tokens of one record's prompt."""
        rendered = render(self._template, record, shots, self._tokenizer)
        return encode_prompt(self._tokenizer, rendered, self._max_tokens)

    def label_ids(self, record: Record, label: str) -> list[int]:
        """Return the tokens of a label as the answer to `record`, what ends it included.

        A fine-tune has learned the end token. A base model has only seen the separator between the examples.
        """
        rendered = render(self._template, replace(record, completion=label, answer=None), (), self._tokenizer)
        if not self._separator:
            return encode_completion(self._tokenizer, rendered)
        ended = replace(rendered, completion=rendered.completion + self._separator)
        return encode_completion(self._tokenizer, ended)[:-1]

    def stop_ids(self, record: Record) -> set[int]:
        """Return the tokens that end an answer."""
        return {end_token_id(self._tokenizer, render(self._template, record, (), self._tokenizer))}

    @property
    def is_complete(self) -> Callable[[Sequence[int]], bool] | None:
        """Tells whether an answer has gone on to the separator; None where only the end token counts."""
        if not self._separator:
            return None
        return lambda token_ids: self._separator in self._decoded(token_ids)

    def text(self, token_ids: Sequence[int]) -> str:
        """Return an answer's text, without what follows the separator."""
        text = self._decoded(token_ids)
        return text.split(self._separator)[0] if self._separator else text

    def _decoded(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=True))
