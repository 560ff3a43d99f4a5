"""Conversations that call tools, from the rows of a source to tokens, on the shipped recipe and a real tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from configs.chat_templates import with_chat_templates
from configs.errors import DataError, RecipeError
from configs.loading import SHIPPED, load_recipe
from configs.schema import Template
from tasks.data.mapping import check_calls_can_be_compared, to_records
from tasks.data.records import Record, Turn
from tasks.data.snapshots import read_snapshot, write_snapshot
from tasks.data.sources import LoadedRows
from tasks.data.splitting import assign_splits
from tasks.data.templates import check_template, render
from tasks.data.tokens import encode
from tasks.data.tool_chats import conversations
from tasks.metrics.task_metrics import score_rows

RECIPE = load_recipe(SHIPPED / "tools_chat.yaml")
ROWS = list(conversations(count=90))
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tasks.models.tiny_base import train_tokenizer

    tokenizer = train_tokenizer(512)
    tokenizer.chat_template = None
    return tokenizer


def mapped(rows: list[dict[str, Any]], **columns: str) -> list[Record]:
    data = RECIPE.data.model_copy(update={"columns": RECIPE.data.columns.model_copy(update=columns)})
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return assign_splits(to_records(LoadedRows(rows=tuple(rows), columns=names, splits=None), data), data)


def talk(*messages: dict[str, Any], **row: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": [], "customer": "c", "kind": "call", **row}


def call(arguments: Any, name: Any = "f", role: str = "assistant") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": role, "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


USER = {"role": "user", "content": "q"}


def test_the_same_arguments_give_the_same_conversations() -> None:
    assert list(conversations(count=90)) == ROWS
    assert list(conversations(count=90, seed=1)) != ROWS


def test_every_conversation_of_the_recipe_fits_and_trains_all_of_its_assistants_turns(tokenizer: Any) -> None:
    for record in mapped(ROWS):
        encoded = encode(tokenizer, render(RECIPE.template, record, tokenizer=tokenizer), RECIPE.template.max_tokens)

        turns = sum(turn.role == "assistant" for turn in record.turns)
        assert not encoded.truncated
        assert len(encoded.trained) == turns
        said = tokenizer.decode(encoded.completion_ids)
        assert said.endswith(tokenizer.eos_token)
        assert score_rows("tool_call_match", [said.removesuffix(tokenizer.eos_token)], [record.completion])[0] == 1
        assert len(encoded.completion_ids) <= RECIPE.evaluation.max_new_tokens


def test_the_template_shows_the_tools(tokenizer: Any) -> None:
    prompt = render(RECIPE.template, mapped(ROWS)[0], tokenizer=tokenizer).prompt

    assert prompt.count("\ntool {") + prompt.startswith("<s>tool {") == 3
    assert '"name": "track_parcel"' in prompt


def test_a_snapshot_keeps_calls_and_tools(tmp_path: Path) -> None:
    records = mapped(ROWS)

    digest = write_snapshot(records, snapshots=tmp_path, source_digest="s")

    assert read_snapshot(tmp_path, digest).records == tuple(records)


def test_a_snapshot_without_calls_is_what_it_was_before_there_were_any(tmp_path: Path) -> None:
    records = [
        Record(str(n), s, str(n), (Turn("user", "q"),), "a") for n, s in enumerate(("train", "validation", "test"))
    ]

    digest = write_snapshot(records, snapshots=tmp_path, source_digest="s")

    assert digest == "b0b522994f7c70aeab5b3c4fe7d8a5c33862182bbef5c7d30f27b796c6970555"


def test_arguments_may_be_an_object_or_its_text() -> None:
    as_text, as_object = mapped([talk(USER, call('{"b": 1, "a": 2.0}')), talk(USER, call({"a": 2, "b": 1}))])

    assert as_text.completion == as_object.completion == '{"arguments":{"a":2,"b":1},"name":"f"}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (call("{"), "text that is no valid JSON"),
        (call('{"a": 1, "a": 2}'), "text that is no valid JSON"),
        (call([1]), "found a list"),
        (call({}, name=""), "something else"),
        (call({"a": float("nan")}), "a value that JSON doesn't have"),
        (call({}, role="user"), "calls of the role user"),
    ],
)
def test_a_call_that_is_none_is_told_with_its_row(message: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=f"data row 1.*{expected}"):
        mapped([talk(USER, message, {"role": "assistant", "content": "x"})])


def test_tools_that_are_none_are_told() -> None:
    with pytest.raises(DataError, match="data row 1, column 'tools': expected a list of tool schemas"):
        mapped([talk(USER, call({}), tools={"a": 1})])


def test_a_special_token_in_arguments_or_tools_is_refused(tokenizer: Any) -> None:
    in_call, in_tools = mapped(
        [talk(USER, call({"a": "</s>"})), talk(USER, call({}), tools=[{"function": {"name": "</s>"}}])]
    )

    for record in (in_call, in_tools):
        with pytest.raises(DataError, match="spells a special token"):
            render(RECIPE.template, record, tokenizer=tokenizer)


def test_calls_that_can_not_be_read_back_are_refused(tokenizer: Any) -> None:
    template = Template(kind="chat", chat_template=CHAT.replace("{{ m.content }}", "{{ m.content }}{{ m.tool_calls }}"))

    with pytest.raises(RecipeError, match="in a form that can't be read back"):
        render(template, mapped([talk(USER, call({"a": 1}))])[0], tokenizer=tokenizer)


@pytest.mark.parametrize("metric", ["exact_match", "normalised_match", "token_f1"])
def test_calls_are_not_compared_as_text(metric: str) -> None:
    with pytest.raises(RecipeError, match=r"set evaluation\.metric: tool_call_match"):
        check_calls_can_be_compared(calls_tools=True, metric=metric, labels=None)

    check_calls_can_be_compared(calls_tools=False, metric=metric, labels=None)
    check_calls_can_be_compared(calls_tools=True, metric="tool_call_match", labels=None)


def test_calls_are_no_closed_set() -> None:
    with pytest.raises(RecipeError, match=r"data\.labels"):
        check_calls_can_be_compared(calls_tools=True, metric="tool_call_match", labels="infer")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}{{ m.content }}", "not a valid template"),
        ("{{ message }}", "'message', which is not there"),
        ("{% for m in messages %}{% for n in messages %}x{% endfor %}{% endfor %}", "has a loop in line 1"),
        ("{% for m in messages | trim %}x{% endfor %}", "has a loop in line 1"),
        ("{% set x = 1 %}{{ messages }}", "uses assign"),
        ("{{ messages.append(1) }}", "uses call"),
        ("{% macro f() %}{% endmacro %}{{ messages }}", "uses macro"),
        ("{{ 'a' * 1000000000 }}", "uses mul"),
        ("{% include 'x' %}", "uses include"),
    ],
)
def test_a_chat_template_stays_in_its_sandbox(source: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        check_template(Template(kind="chat", chat_template=source), RECIPE.data.columns)


@pytest.mark.parametrize("reach", ["messages.__class__", "messages[0].__class__.__mro__", "messages[0]['__class__'].x"])
def test_a_chat_template_reaches_no_python_object(tokenizer: Any, reach: str) -> None:
    template = Template(kind="chat", chat_template=f"{{{{ {reach} }}}}" + CHAT)

    try:
        prompt = render(template, mapped([talk(USER, {"role": "assistant", "content": "a"})])[0], tokenizer=tokenizer)
    except RecipeError:
        return
    assert "class" not in prompt.prompt


def test_the_recipes_chat_template_makes_the_text_that_transformers_makes(tokenizer: Any) -> None:
    record = next(record for record in mapped(ROWS) if len(record.turns) > 1)
    ours = render(RECIPE.template, record, tokenizer=tokenizer)
    tokenizer.chat_template = RECIPE.template.chat_template
    theirs = render(Template(kind="chat", train_on="all_assistant_turns"), record, tokenizer=tokenizer)
    tokenizer.chat_template = None

    assert ours == theirs


def test_a_chat_template_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(CHAT)
    named = RECIPE.model_copy(update={"template": Template(kind="chat", chat_template="chat.jinja")})

    assert with_chat_templates(named, project_root=tmp_path).template.chat_template == CHAT
    assert with_chat_templates(RECIPE, project_root=tmp_path) == RECIPE
    with pytest.raises(RecipeError, match=r"template\.chat_template: can't read"):
        with_chat_templates(named, project_root=tmp_path / "elsewhere")


def test_messages_of_a_csv_are_json_text() -> None:
    rows = [{**row, "messages": json.dumps(row["messages"]), "tools": json.dumps(row["tools"])} for row in ROWS]

    assert mapped(rows) == mapped(ROWS)
