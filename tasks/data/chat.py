"""Records through a chat template: the base model's own, or the recipe's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import DataError, RecipeError
from configs.schema import Template
from tasks.data.chat_messages import Message, conversation, tools_of
from tasks.data.chat_template import render_chat_template
from tasks.data.records import Record
from tasks.data.rendered import Rendered, Span, joined
from tasks.data.tokens import special_token_pattern
from tasks.metrics.tool_calls import read_answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Apply = Callable[[list[Message], bool], str]
"""Makes text of messages; the flag asks for the beginning of the assistant's turn at the end."""
Pieces = list[tuple[str, bool]]
"""Text, and whether it is the template's own."""
_PLACEHOLDER = "\ufdd0{}\ufdd1"  # Unicode noncharacters: no chat template spells them


def render_chat(
    template: Template, record: Record, *, shots: Sequence[Record], tokenizer: PreTrainedTokenizerBase
) -> Rendered:
    """Render a record as the conversation that the base model was made for.

    The instruction and the record's own system turns become one system message; shots are earlier turns.

    Raises:
        RecipeError: there is no chat template, or one that can't be used for training.
        DataError: a special token inside content can't be told from the template's own.
    """
    apply = _template_of(template, tokenizer, tools_of(record))
    answered = conversation(template.instruction, record, shots)
    messages = answered[:-1]
    prompt = apply(messages, True)
    whole = apply(answered, False)
    _check_goes_on(whole, prompt)
    pattern = special_token_pattern(tokenizer)
    pieces = _pieces(apply, answered, whole, pattern=pattern, record=record)
    _, prompt_markup = joined(_between(pieces, 0, len(prompt)))
    answer, end = _up_to_its_end(_between(pieces, len(prompt), len(whole)), pattern)
    completion, completion_markup = joined(answer)
    _check_calls_can_be_read(record, completion, pattern)
    trained = _earlier_turns(apply, messages, whole, pieces, pattern) if template.train_on != "last" else ()
    return Rendered(prompt, completion, prompt_markup, completion_markup, trained, end)


def _template_of(template: Template, tokenizer: PreTrainedTokenizerBase, tools: list[Any] | None) -> Apply:
    from jinja2 import TemplateError

    source = template.chat_template
    if source is None and not getattr(tokenizer, "chat_template", None):
        raise RecipeError(
            "template.kind is chat, but the base model has no chat template; use template.kind: text, give one in "
            "template.chat_template, or use a base model whose tokenizer_config.json has a chat_template"
        )

    def apply(messages: list[Message], add_generation_prompt: bool) -> str:
        if source is not None:
            names = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
            return render_chat_template(
                source, messages, tools=tools, add_generation_prompt=add_generation_prompt, special_tokens=names
            )
        try:
            text: Any = tokenizer.apply_chat_template(
                [messages], tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise RecipeError(
                f"template.kind is chat, but the chat template of the base model refuses a conversation of the roles "
                f"{roles}: {error}; change the roles (leave template.instruction empty where it knows no system role), "
                "or use template.kind: text"
            ) from error
        return str(text[0])

    return apply


def _check_goes_on(whole: str, beginning: str) -> None:
    if not whole.startswith(beginning):
        raise RecipeError(
            "template.kind is chat, but the chat template of the base model writes an answered conversation "
            "differently from an open one, so the trained tokens can't be told; use template.kind: text"
        )


def _pieces(apply: Apply, messages: list[Message], whole: str, *, pattern: re.Pattern[str], record: Record) -> Pieces:
    """Tell content from markup: render placeholders, and see which content makes the real text of them."""
    held = [
        {**message, "content": _PLACEHOLDER.format(index)} if message["content"] else message
        for index, message in enumerate(messages)
    ]
    markup = re.split("\ufdd0[0-9]+\ufdd1", apply(held, False))
    contents = [message["content"] for message in messages if message["content"]]
    beside = [record.tools or ""]
    beside += [
        json.dumps({key: value for key, value in message.items() if key != "content"}, ensure_ascii=False)
        for message in messages
    ]
    if not any(pattern.search(text) for text in beside):
        for candidate in (contents, [content.strip() for content in contents]):
            if len(markup) == len(candidate) + 1:
                pieces = [(markup[0], True)]
                for content, after in zip(candidate, markup[1:], strict=True):
                    pieces += [(content, False), (after, True)]
                if "".join(text for text, _ in pieces) == whole:
                    return pieces
    if any(pattern.search(content) for content in (*contents, *beside)):
        raise DataError(
            f"record {record.record_id} spells a special token of the base model, and its chat template changes "
            "content, or the token stands in its tools, so the two can't be told apart; drop the record (rule special "
            "tokens of the suite), or use template.kind: text"
        )
    return [(whole, True)]


def _earlier_turns(
    apply: Apply, messages: list[Message], whole: str, pieces: Pieces, pattern: re.Pattern[str]
) -> tuple[Span, ...]:
    """Return where the assistant's turns before the completion stand: what each would be if it were the completion."""
    spans: list[Span] = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            before, after = apply(messages[:index], True), apply(messages[: index + 1], False)
            _check_goes_on(whole, after)
            _check_goes_on(after, before)
            turn, end = _up_to_its_end(_between(pieces, len(before), len(after)), pattern)
            spans.append((len(before), len(before) + sum(len(text) for text, _ in turn) + len(end or "")))
    return tuple(spans)


def _up_to_its_end(turn: Pieces, pattern: re.Pattern[str]) -> tuple[Pieces, str | None]:
    """Return an assistant's turn up to the special token that ends it, and that token: the first after all content."""
    content_end = max((index for index, (_, is_markup) in enumerate(turn) if not is_markup), default=-1)
    for index, (text, is_markup) in enumerate(turn):
        match = pattern.search(text) if is_markup and index > content_end else None
        if match:
            return [*turn[:index], (text[: match.start()], True)], match.group()
    return turn, None


def _check_calls_can_be_read(record: Record, completion: str, pattern: re.Pattern[str]) -> None:
    if record.answer is not None and read_answer(pattern.sub("", completion)) != read_answer(record.completion):
        raise RecipeError(
            f"the chat template writes the tool calls of record {record.record_id} in a form that can't be read back, "
            "so no answer could be compared with them; give a template.chat_template that writes each call as JSON "
            '{"name": …, "arguments": {…}}'
        )


def _between(pieces: Pieces, start: int, end: int) -> Pieces:
    """Return the pieces between two positions of the joined text."""
    kept = []
    for text, is_markup in pieces:
        part = text[max(start, 0) : max(end, 0)]
        if part:
            kept.append((part, is_markup))
        start, end = start - len(text), end - len(text)
    return kept
