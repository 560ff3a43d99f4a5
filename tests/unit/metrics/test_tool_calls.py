from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.task_metrics import score_rows
from tasks.metrics.tool_calls import answer_text, read_answer

WEATHER = '{"name": "weather", "arguments": {"city": "Ulm", "days": 2}}'
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=4)


def match(output: str, reference: str) -> bool:
    return bool(score_rows("tool_call_match", [output], [reference])[0])


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(inner) for key, inner in reversed(value.items())}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


@given(st.text(min_size=1), ARGUMENTS)
def test_key_order_and_white_space_do_not_count(name: str, arguments: dict[str, Any]) -> None:
    reference = answer_text("", [(name, json.dumps(arguments))])

    said = json.dumps({"arguments": reordered(arguments), "name": name}, indent=3)

    assert match(said, reference)


@pytest.mark.parametrize(
    "output",
    [
        f"<tool_call>\n{WEATHER}\n</tool_call>",
        f"[{WEATHER}]",
        f"[TOOL_CALLS] [{WEATHER}]",
        f"```json\n{WEATHER}\n```",
        '{"name": "weather", "parameters": {"days": 2.0, "city": "Ulm"}}',
        '{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\":\\"Ulm\\",\\"days\\":2}"}}',
    ],
)
def test_what_stands_around_a_call_does_not_count(output: str) -> None:
    assert match(output, answer_text("", [("weather", '{"days": 2, "city": "Ulm"}')]))


@pytest.mark.parametrize(
    "output",
    [
        "",
        "weather in Ulm",
        WEATHER.replace("Ulm", "ulm"),
        WEATHER.replace("2", '"2"'),
        WEATHER.replace("weather", "Weather"),
        WEATHER.replace(', "days": 2', ""),
        WEATHER.replace('"days": 2', '"days": 2, "days": 2'),
        WEATHER.replace("2", "true"),
        WEATHER[:-1],
        f"{WEATHER}{WEATHER}",
        f"Let me look. {WEATHER}",
        f"{WEATHER} done",
    ],
)
def test_another_call_is_no_match(output: str) -> None:
    assert not match(output, answer_text("", [("weather", '{"days": 2, "city": "Ulm"}')]))


def test_the_order_of_calls_counts() -> None:
    calls = [("a", "{}"), ("b", "{}")]

    assert match('{"name": "a", "arguments": {}}\n{"name": "b", "arguments": {}}', answer_text("", calls))
    assert not match('{"name": "b", "arguments": {}}\n{"name": "a", "arguments": {}}', answer_text("", calls))


def test_true_is_not_one() -> None:
    assert not match('{"name": "a", "arguments": {"x": 1}}', answer_text("", [("a", '{"x": true}')]))


def test_an_answer_in_words_is_compared_as_it_is() -> None:
    assert match(" It arrives on Monday.\n", "It arrives on Monday.")
    assert not match("it arrives on Monday.", "It arrives on Monday.")
    assert not match(WEATHER, "It arrives on Monday.")


@given(st.text(alphabet='{}[]":, \nab\\'), st.lists(st.tuples(st.text(min_size=1), ARGUMENTS), min_size=1, max_size=3))
def test_the_canonical_text_reads_back(content: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    text = answer_text("", [(name, json.dumps(arguments)) for name, arguments in calls])

    read = read_answer(text)

    assert (read.said, len(read.calls)) == ("", len(calls))
    assert read_answer(answer_text("", [])) == ("", ())
    assert read_answer(content).said == content.strip() or read_answer(content).calls


def test_hostile_text_is_read_in_bounded_time() -> None:
    assert read_answer('{"a":' * 20_000).calls == ()
