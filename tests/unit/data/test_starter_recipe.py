from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import DataError, RecipeError
from configs.loading import load_recipe, parse_recipe
from configs.schema import Economics, Recipe
from flows.commands.starting import _init
from tasks.data.starter_file import write_starter
from tasks.data.starter_recipe import guess_recipe, recipe_name
from tasks.data.starter_text import quoted, starter_text

CHAPTERS = ("eye", "heart", "lung")
TERMS = [
    {
        "code": f"C{number // 2}",
        "term": f"term number {number}",
        "chapter": CHAPTERS[number % 3],
        "site": "ab"[number % 2],
    }
    for number in range(60)
]
CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
CELLS = st.text(max_size=6) | st.integers() | st.none() | st.booleans() | st.just(TALK) | st.just([*TALK[:1], CALL])


def loaded(rows: list[dict[str, Any]], **given: Any) -> Recipe:
    import yaml

    written = starter_text(
        guess_recipe(rows), **{"name": "mine", "data_path": "data.jsonl", "base_path": None, **given}
    )
    return parse_recipe(yaml.safe_load(written), source="starter")


def test_columns_are_guessed_by_name_and_content() -> None:
    recipe = loaded(TERMS)

    assert (recipe.data.columns.prompt, recipe.data.columns.completion) == ("term", "chapter")
    assert recipe.data.labels == "infer"
    assert recipe.data.columns.metadata == ("site",)
    assert recipe.data.group_by is None
    assert recipe.evaluation.metric == "exact_match"
    assert guess_recipe(TERMS).group_candidates == ("code",)
    assert guess_recipe(TERMS).left_out == ()


def test_columns_that_the_recipe_does_not_read_are_named() -> None:
    rows = [{**row, "remark": f"seen on day {number}"} for number, row in enumerate(TERMS)]

    assert guess_recipe(rows).left_out == ("remark",)
    assert "# not read: remark; to show the model one" in starter_text(
        guess_recipe(rows), name="mine", data_path="data.jsonl", base_path=None
    )


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (lambda n: {"team": "ab"[n % 2], "remark": f"remark {n}"}, "team"),
        (lambda n: {"team": "ab"[n % 2], "remark": "seen" if n % 3 else ""}, "team"),
        (lambda n: {"colour": "xy"[n % 2], "team": "ab"[n % 2]}, "team"),
        (lambda n: {"ticket_category": "xy"[n % 2], "team": "ab"[n % 2]}, "ticket_category"),
        (lambda n: {"remark": f"remark {n}", "note": "" if n % 3 else f"note {n}"}, "remark"),
        (lambda n: {"class_note": f"note {n}", "team": "ab"[n % 2]}, "team"),
        (lambda n: {"team": "abcd"[n % 4], "region": "xy"[n % 2], "customer": "abcdefgh"[n % 8]}, "team"),
    ],
    ids=[
        "labels before text",
        "whole before half empty",
        "the last",
        "end of the name",
        "no labels",
        "begin of the name",
        "most labels, no group",
    ],
)
def test_the_column_of_the_answers_is_found_without_its_usual_name(
    columns: Callable[[int], dict[str, str]], chosen: str
) -> None:
    found = guess_recipe([{"text": f"words {number}", **columns(number)} for number in range(40)])

    assert found.completion.value == chosen
    assert found.prompt.value == "text"


def test_several_columns_of_labels_are_all_named() -> None:
    rows = [{"text": f"words {number}", "colour": "xy"[number % 2], "team": "ab"[number % 2]} for number in range(40)]

    assert guess_recipe(rows).completion.reason.endswith("if the answer is in colour, name that")


def test_a_prompt_whose_name_ends_like_an_answer_stays_the_prompt() -> None:
    rows = [{"problem_summary": f"many more words {number}", "team": "ab"[number % 2]} for number in range(40)]

    found = guess_recipe(rows)

    assert (found.prompt.value, found.completion.value) == ("problem_summary", "team")


def test_long_answers_are_free_text() -> None:
    rows = [{"question": f"why {number}", "answer": f"because {number} " * 20} for number in range(30)]

    recipe = loaded(rows)

    assert recipe.data.labels is None
    assert recipe.evaluation.metric == "token_f1"
    assert recipe.template.max_tokens >= 64


def test_few_rows_are_no_closed_set() -> None:
    assert (
        loaded([{"prompt": str(number), "completion": f"label {number}"} for number in range(10)]).data.labels is None
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_conversations_are_seen(as_text: bool) -> None:
    rows = [{"talk": json.dumps(TALK) if as_text else TALK, "id": number} for number in range(30)]

    recipe = loaded(rows)

    assert (recipe.data.columns.messages, recipe.template.kind) == ("talk", "chat")


def test_calls_of_tools_are_seen() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]

    recipe = loaded([{"messages": [*TALK[:1], CALL], "tools": tools}] * 3)

    assert (recipe.data.columns.tools, recipe.evaluation.metric) == ("tools", "tool_call_match")


def test_every_guess_has_its_reason_in_a_comment() -> None:
    text = starter_text(guess_recipe(TERMS), name="mine", data_path="d.csv", base_path=None)

    for key in ("prompt:", "completion:", "metadata:", "labels:", "max_tokens:", "metric:"):
        line = next(line for line in text.splitlines() if line.strip().startswith(key))
        assert "  # " in line, line
    assert '# group_by: "code"' in text


@given(st.lists(st.dictionaries(st.text(max_size=8), CELLS, max_size=6), min_size=1, max_size=12), st.text(), st.text())
def test_what_is_written_always_loads_and_means_the_same(rows: list[dict[str, Any]], path: str, base: str) -> None:
    guessed = guess_recipe(rows)

    recipe = loaded(rows, data_path=f"d{path}", base_path=f"b{base}")

    columns = recipe.data.columns
    assert (recipe.data.source.path, recipe.base.path) == (f"d{path}", f"b{base}")  # type: ignore[union-attr]
    assert columns.metadata == guessed.metadata
    assert columns.messages == guessed.messages.value
    assert columns.tools == guessed.tools.value
    if guessed.kind == "prompt":
        assert columns.prompt == (guessed.prompt.value if guessed.prompt.value is not None else "prompt")
        assert columns.completion == (
            guessed.completion.value if guessed.completion.value is not None else "completion"
        )
    assert recipe.data.group_by is None


@given(st.text(alphabet=st.characters(max_codepoint=0x110000 - 1, exclude_categories=["Cs"])))
def test_a_quoted_text_stays_what_it_is(text: str) -> None:
    import yaml

    assert yaml.safe_load(f"- {quoted(text)}  # why") == [text]


@given(st.text())
def test_a_name_made_of_a_files_is_allowed(stem: str) -> None:
    assert loaded(TERMS, name=recipe_name(stem)).name == recipe_name(stem)


def test_a_starter_is_written_beside_its_data_and_never_over_another(tmp_path: Path) -> None:
    data = tmp_path / "My terms.csv"
    data.write_text("term,chapter\n" + "".join(f"a {number},{number % 2}\n" for number in range(20)))

    written = write_starter(data, output=None, base=None, force=False).path

    recipe = load_recipe(written)
    assert written == tmp_path / "My terms.yaml"
    assert (recipe.name, recipe.data.source.path) == ("my_terms", "My terms.csv")  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match="is there already"):
        write_starter(data, output=None, base=None, force=False)
    assert write_starter(data, output=None, base=tmp_path / "base", force=True).path == written
    assert load_recipe(written).base.path == "base"  # type: ignore[union-attr]


def test_a_starter_may_lie_elsewhere(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text('{"prompt": "a", "completion": "b"}\n')

    written = write_starter(data, output=tmp_path / "configs" / "mine.yaml", base=None, force=False).path

    assert load_recipe(written).data.source.path == "d.jsonl"  # type: ignore[union-attr]


def test_a_file_that_is_no_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        write_starter(tmp_path / "nowhere.csv", output=None, base=None, force=False)
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="has no rows"):
        write_starter(tmp_path / "empty.csv", output=None, base=None, force=False)


def test_a_starter_searches_and_names_what_the_money_rests_on() -> None:
    recipe = loaded(TERMS)

    assert set(recipe.search.space) == {"learning_rate", "lora_rank"}
    assert recipe.economics == Economics()
    assert set(Economics.model_fields) == recipe.economics.model_fields_set


def test_the_command_says_which_columns_it_took_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "tickets.jsonl"
    rows = [{"question": f"where {n}", "region": "ab"[n % 2], "team\nwrote x": "xyz"[n % 3]} for n in range(60)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    _init(argparse.Namespace(data=data, output=None, base=None, force=False))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prompt question (its name says so)"
    assert lines[1].startswith("completion team wrote x (it has values that repeat")
    assert "if the answer is in region, name that" in lines[1]
    assert lines[2].startswith("labels infer (3 different completions")
    assert lines[3].startswith(f"wrote {tmp_path / 'tickets.yaml'}; fill in `base`")
