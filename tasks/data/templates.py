"""Records as text: the recipe's own template, or the chat template of the base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.errors import RecipeError
from configs.schema import Columns, Recipe, Template
from tasks.data.chat import render_chat
from tasks.data.chat_template import check_chat_template
from tasks.data.records import Record
from tasks.data.rendered import Rendered, joined
from tasks.data.sandbox import check_source, render_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Rendered", "check_template", "check_templates", "render"]


FIRST_ANSWER = "first_answer"
"""The variable of a chain's second template."""


def check_template(template: Template, columns: Columns, *, where: str = "template") -> None:
    """Check a template before any work: its syntax, the sandbox's limits, and the columns that it names.

    Raises:
        RecipeError: names `<where>.prompt` or `<where>.completion` and what is allowed.
    """
    if template.kind == "chat":
        if template.chat_template is not None:
            check_chat_template(template.chat_template, where=f"{where}.chat_template")
        return
    variables = {"prompt", *columns.metadata}
    own = {columns.prompt: "prompt", columns.completion: "completion"}
    check_source(template.prompt, variables, where=f"{where}.prompt", called=own)
    check_source(template.completion, variables | {"completion"}, where=f"{where}.completion", called=own)


def check_templates(recipe: Recipe) -> None:
    """Check the recipe's template, the other wordings of its baseline and its chains.

    Raises:
        RecipeError: as `check_template`.
    """
    check_template(recipe.template, recipe.data.columns)
    for name, template in recipe.baseline.templates.items():
        check_template(template, recipe.data.columns, where=f"baseline.templates.{name}")
    known = recipe.data.columns.metadata
    if recipe.baseline.chains and FIRST_ANSWER in known:
        raise RecipeError(
            f"data.columns.metadata names {FIRST_ANSWER}, which a chain fills in itself; rename the column"
        )
    for name, chain in recipe.baseline.chains.items():
        where = f"baseline.chains.{name}"
        check_template(chain.first, recipe.data.columns, where=f"{where}.first")
        second = recipe.data.columns.model_copy(update={"metadata": (*known, FIRST_ANSWER)})
        check_template(chain.then, second, where=f"{where}.then")


def render(
    template: Template,
    record: Record,
    shots: Sequence[Record] = (),
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Rendered:
    """Render one record, after the given shots, to the prompt and the completion that follows it.

    Raises:
        RecipeError: the template can't be rendered; names `template.prompt` or `template.completion`.
    """
    if template.kind == "chat":
        if tokenizer is None:
            raise RecipeError("template.kind is chat, which needs the tokenizer of the base model; use kind: text")
        return render_chat(template, record, shots=shots, tokenizer=tokenizer)
    pieces = [(template.instruction + template.separator, True)] if template.instruction else []
    for shot in shots:
        pieces += [*_prompt(template, shot), *_completion(template, shot), (template.separator, True)]
    prompt, prompt_markup = joined(pieces + _prompt(template, record))
    completion, completion_markup = joined(_completion(template, record))
    return Rendered(prompt, completion, prompt_markup, completion_markup)


def _prompt(template: Template, record: Record) -> list[tuple[str, bool]]:
    values = {**record.metadata, "prompt": record.prompt}
    return render_pieces(template.prompt, values, where="template.prompt", row=record.record_id)


def _completion(template: Template, record: Record) -> list[tuple[str, bool]]:
    values = {**record.metadata, "prompt": record.prompt, "completion": record.completion}
    return render_pieces(template.completion, values, where="template.completion", row=record.record_id)
