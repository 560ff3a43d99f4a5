from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import DataError
from configs.schema import Data
from tasks.data.mapping import to_records
from tasks.data.records import Record, Turn
from tasks.data.sources import LoadedRows

CHAT: dict[str, Any] = {"columns": {"messages": "talk"}}


def data(**fields: Any) -> Data:
    return Data.model_validate({"source": {"kind": "file", "path": "x.jsonl"}, **fields})


def loaded(*rows: dict[str, Any], splits: Any = None) -> LoadedRows:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return LoadedRows(rows=rows, columns=columns, splits=splits)


def mapped(row: dict[str, Any], **fields: Any) -> Record:
    return to_records(loaded(row), data(**fields))[0]


def message(role: Any, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


@given(st.text(), st.text())
def test_content_is_kept_letter_by_letter(prompt: str, completion: str) -> None:
    record = mapped({"prompt": prompt, "completion": completion})

    assert record.turns == (Turn("user", prompt),)
    assert record.completion == completion


def test_columns_are_named_by_the_recipe() -> None:
    row = {"term": "Kinking of ureter", "chapter": "Genitourinary", "code": "N13.5", "page": 7, "rare": True}
    columns = {"prompt": "term", "completion": "chapter", "metadata": ["code", "page", "rare"]}

    record = mapped(row, columns=columns, group_by="page")

    assert (record.prompt, record.completion, record.group) == ("Kinking of ureter", "Genitourinary", "7")
    assert record.metadata == {"code": "N13.5", "page": "7", "rare": "true"}


def test_the_last_assistant_turn_of_a_conversation_is_the_completion() -> None:
    talk = [message("system", "s"), message("user", "a"), message("assistant", "b"), message("user", "c")]

    record = mapped({"talk": [*talk, message("assistant", "d")]}, **CHAT)

    assert [turn.content for turn in record.turns] == ["s", "a", "b", "c"]
    assert record.completion == "d"


def test_a_conversation_may_be_json_text_as_csv_has_it() -> None:
    text = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'

    record = mapped({"talk": text}, **CHAT)

    assert (record.turns, record.completion) == ((Turn("user", "a"),), "b")


@pytest.mark.parametrize("row", [{"prompt": None, "completion": "x"}, {"completion": "x"}])
def test_a_missing_text_becomes_an_empty_one_for_the_rules_to_judge(row: dict[str, Any]) -> None:
    whole = {"prompt": "p", "completion": "x"}

    records = to_records(loaded(whole, row), data())

    assert records[1].prompt == ""


def test_equal_content_has_the_equal_id_with_a_running_number() -> None:
    row = {"prompt": "p", "completion": "c"}

    first, second, third = to_records(loaded(row, {"prompt": "q", "completion": "c"}, row), data())

    assert third.record_id == f"{first.record_id}-2"
    assert second.record_id != first.record_id
    assert len(first.record_id) == 16


def test_an_id_depends_on_content_alone_and_not_on_the_place() -> None:
    row, other = {"prompt": "p", "completion": "c"}, {"prompt": "q", "completion": "c"}

    alone = to_records(loaded(row), data())[0]
    after_another = to_records(loaded(other, row), data())[1]

    assert alone.record_id == after_another.record_id


def test_ids_tell_records_apart_that_differ_in_metadata_only() -> None:
    rows = ({"prompt": "p", "completion": "c", "year": 1}, {"prompt": "p", "completion": "c", "year": 2})

    first, second = to_records(loaded(*rows), data(columns={"metadata": ["year"]}))

    assert first.record_id[:16] != second.record_id[:16]


def test_the_split_comes_from_the_users_column() -> None:
    rows = [{"prompt": "p", "completion": "c", "part": name} for name in ("test", "train", "validation")]

    records = to_records(loaded(*rows), data(split={"column": "part"}))

    assert [record.split for record in records] == ["test", "train", "validation"]


def test_the_split_comes_from_the_users_files() -> None:
    files = {"kind": "file", "train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    row = {"prompt": "p", "completion": "c"}

    records = to_records(loaded(row, row, splits=("test", "train")), data(source=files))

    assert [record.split for record in records] == ["test", "train"]


BAD_ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("number as text", {"prompt": 5, "completion": "c"}, {}, "'prompt': expected text.*found a number"),
    ("truth value as text", {"prompt": "p", "completion": True}, {}, "'completion': expected text.*a truth value"),
    ("object as text", {"prompt": {"a": 1}, "completion": "c"}, {}, "'prompt'.*found an object"),
    ("list as text", {"prompt": ["a"], "completion": "c"}, {}, "'prompt'.*found a list"),
    ("bytes as text", {"prompt": b"a", "completion": "c"}, {}, "'prompt'.*type bytes"),
    ("half a surrogate", {"prompt": "ab\ud800", "completion": "c"}, {}, "'prompt'.*surrogate pair at character 3"),
    ("list as metadata", {"prompt": "p", "completion": "c", "m": []}, {"columns": {"metadata": ["m"]}}, "'m'.*a list"),
    ("no group", {"prompt": "p", "completion": "c", "g": None}, {"group_by": "g"}, "'g'.*data.group_by.*nothing"),
    ("blank group", {"prompt": "p", "completion": "c", "g": " "}, {"group_by": "g"}, "'g'.*data.group_by"),
    ("other split", {"prompt": "p", "completion": "c", "s": "dev"}, {"split": {"column": "s"}}, "one of train, valid"),
    ("messages as object", {"talk": {"a": 1}}, CHAT, "'talk'.*list of {role, content}; found an object"),
    ("messages as bad JSON", {"talk": "[{"}, CHAT, "'talk'.*no valid JSON"),
    ("messages as deep JSON", {"talk": "[" * 100_000}, CHAT, "'talk'.*no valid JSON"),
    ("no turns", {"talk": []}, CHAT, "'talk'.*found no turns"),
    ("answer alone", {"talk": [message("assistant", "a")]}, CHAT, "at least two turns"),
    ("question last", {"talk": [message("assistant", "a"), message("user", "b")]}, CHAT, "assistant → user"),
    ("other keys", {"talk": [{"from": "human", "value": "x"}]}, CHAT, "found keys from, value"),
    ("turn as text", {"talk": ["hello", "world"]}, CHAT, "{role, content}; found a value of type str"),
    ("other role", {"talk": [message("bot", "a"), message("assistant", "b")]}, CHAT, "one of system, user, assist"),
    ("role as list", {"talk": [message(["user"], "a"), message("assistant", "b")]}, CHAT, "one of system, user"),
    ("content in parts", {"talk": [message("user", [{}]), message("assistant", "b")]}, CHAT, r"content'.*found a list"),
]


@pytest.mark.parametrize(("row", "fields", "expected"), [case[1:] for case in BAD_ROWS], ids=[c[0] for c in BAD_ROWS])
def test_a_bad_row_is_named_with_column_expected_and_found(
    row: dict[str, Any], fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        to_records(loaded(row), data(**fields))

    assert "row 1" in str(caught.value)


def test_a_message_about_a_bad_row_shows_no_values() -> None:
    secret = {"talk": [message("secret-role", "secret text"), message("assistant", "b")]}

    with pytest.raises(DataError) as caught:
        to_records(loaded(secret), data(**CHAT))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"columns": {"prompt": "question"}}, "data.columns.prompt names 'question'"),
        ({"columns": {"completion": "reply"}}, "data.columns.completion names 'reply'"),
        ({"columns": {"messages": "chat"}}, "data.columns.messages names 'chat'"),
        ({"columns": {"metadata": ["prompt", "topic"]}}, "data.columns.metadata[1] names 'topic'"),
        ({"group_by": "patient"}, "data.group_by names 'patient'"),
        ({"split": {"column": "fold"}}, "data.split.column names 'fold'"),
    ],
)
def test_a_missing_column_is_named_with_its_key_and_the_columns_found(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(DataError) as caught:
        to_records(loaded({"prompt": "p", "completion": "c", "rest": "r"}), data(**fields))

    assert key in str(caught.value)
    assert "columns found: 'prompt', 'completion', 'rest'" in str(caught.value)


def test_a_column_that_was_probably_meant_is_named() -> None:
    with pytest.raises(DataError, match=r"data.columns.prompt names 'Promt' \(did you mean 'prompt'\?\), which"):
        to_records(loaded({"prompt": "p", "completion": "c"}), data(columns={"prompt": "Promt"}))


def test_all_missing_columns_are_reported_at_once() -> None:
    with pytest.raises(DataError, match=r"(?s)columns\.prompt.*columns\.completion.*group_by"):
        to_records(loaded({"other": "x"}), data(group_by="patient"))


def test_a_source_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no records"):
        to_records(LoadedRows(rows=(), columns=(), splits=None), data())
