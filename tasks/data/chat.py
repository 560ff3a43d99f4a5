"""Records through a tokenizer's own chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import DataError, RecipeError
from tasks.data.records import Record
from tasks.data.rendered import Rendered, joined
from tasks.data.tokens import special_token_pattern

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
_PLACEHOLDER = "\ufdd0{}\ufdd1"  # Unicode noncharacters: no chat template spells them


def render_chat(
    instruction: str, record: Record, *, shots: Sequence[Record], tokenizer: PreTrainedTokenizerBase
) -> Rendered:
    """Render a record as the conversation that the base model was made for.

    The instruction and the record's own system turns become one system message; shots are earlier turns.

    Raises:
        RecipeError: the tokenizer has no chat template, or one that can't be used for training.
        DataError: a special token inside content can't be told from the template's own.
    """
    messages = _conversation(instruction, record, shots)
    answered = [*messages, {"role": "assistant", "content": record.completion}]
    prompt = _apply(tokenizer, messages, add_generation_prompt=True)
    whole = _apply(tokenizer, answered, add_generation_prompt=False)
    if not whole.startswith(prompt):
        raise RecipeError(
            "template.kind is chat, but the chat template of the base model writes an answered conversation "
            "differently from an open one, so the trained tokens can't be told; use template.kind: text"
        )
    pattern = special_token_pattern(tokenizer)
    pieces = _pieces(tokenizer, answered, whole, pattern=pattern, row=record.record_id)
    return _split_at_completion(prompt, pieces, pattern)


def _conversation(instruction: str, record: Record, shots: Sequence[Record]) -> list[Message]:
    system = [instruction] if instruction else []
    system += [turn.content for turn in record.turns if turn.role == "system"]
    messages = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    for shot in shots:
        messages += _turns(shot)
        messages.append({"role": "assistant", "content": shot.completion})
    return messages + _turns(record)


def _turns(record: Record) -> list[Message]:
    return [{"role": turn.role, "content": turn.content} for turn in record.turns if turn.role != "system"]


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[Message], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise RecipeError(
            "template.kind is chat, but the base model has no chat template; use template.kind: text, "
            "or a base model whose tokenizer_config.json has a chat_template"
        )
    try:
        text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise RecipeError(
            f"template.kind is chat, but the chat template of the base model refuses a conversation of the roles "
            f"{roles}: {error}; change the roles (leave template.instruction empty where it knows no system role), "
            "or use template.kind: text"
        ) from error
    return str(text)


def _pieces(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], whole: str, *, pattern: re.Pattern[str], row: str
) -> list[tuple[str, bool]]:
    """Tell content from markup: render placeholders, and see which content makes the real text of them."""
    held = [{**message, "content": _PLACEHOLDER.format(index)} for index, message in enumerate(messages)]
    markup = re.split("\ufdd0[0-9]+\ufdd1", _apply(tokenizer, held, add_generation_prompt=False))
    contents = [message["content"] for message in messages]
    for candidate in (contents, [content.strip() for content in contents]):
        if len(markup) == len(candidate) + 1:
            pieces = [(markup[0], True)]
            for content, after in zip(candidate, markup[1:], strict=True):
                pieces += [(content, False), (after, True)]
            if "".join(text for text, _ in pieces) == whole:
                return pieces
    if any(pattern.search(content) for content in contents):
        raise DataError(
            f"record {row} spells a special token of the base model, and its chat template changes content, so the two "
            "can't be told apart; drop the record (rule special tokens of the suite), or use template.kind: text"
        )
    return [(whole, True)]


def _split_at_completion(prompt: str, pieces: list[tuple[str, bool]], pattern: re.Pattern[str]) -> Rendered:
    _, prompt_markup = joined(_before(pieces, len(prompt)))
    answer = _after(pieces, len(prompt))
    content_end = max((index for index, (_, is_markup) in enumerate(answer) if not is_markup), default=-1)
    end = None
    for index, (text, is_markup) in enumerate(answer):
        match = pattern.search(text) if is_markup and index > content_end else None
        if match:
            end = match.group()
            answer = [*answer[:index], (text[: match.start()], True)]
            break
    completion, completion_markup = joined(answer)
    return Rendered(prompt, completion, prompt_markup, completion_markup, end)


def _before(pieces: list[tuple[str, bool]], position: int) -> list[tuple[str, bool]]:
    kept = []
    for text, is_markup in pieces:
        kept.append((text[: max(position, 0)], is_markup))
        position -= len(text)
    return kept


def _after(pieces: list[tuple[str, bool]], position: int) -> list[tuple[str, bool]]:
    kept = []
    for text, is_markup in pieces:
        if len(text) > position:
            kept.append((text[max(position, 0) :], is_markup))
        position -= len(text)
    return kept
