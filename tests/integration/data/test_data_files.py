"""Files through the real `datasets`: every kind of damage, and content that must not change."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetGenerationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import DataError, StorageError
from configs.schema import Data
from tasks.data.mapping import to_records
from tasks.data.sources import LoadedRows, load_rows


def recipe(**source: str) -> Data:
    return Data.model_validate({"source": {"kind": "file", **source}})


def loaded(directory: Path, name: str, content: bytes) -> LoadedRows:
    (directory / name).write_bytes(content)
    return load_rows(recipe(path=name), directory)


def parquet(table: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


CONTENT: list[tuple[str, str, bytes, list[dict[str, Any]]]] = [
    ("dates stay text", "x.jsonl", b'{"p":"2020-01-01 00:00:00"}', [{"p": "2020-01-01 00:00:00"}]),
    ("numbers stay text", "x.csv", b"p,c\n007,1.50\n", [{"p": "007", "c": "1.50"}]),
    ("NA stays text", "x.csv", b"p,c\nNA,null\nnan,\n", [{"p": "NA", "c": "null"}, {"p": "nan", "c": ""}]),
    ("spaces stay", "x.csv", b"p,c\n  a ,\tb\n", [{"p": "  a ", "c": "\tb"}]),
    ("line breaks in fields stay", "x.csv", b'p,c\r\n"a\r\nb\nc","""x"""\r\n', [{"p": "a\r\nb\nc", "c": '"x"'}]),
    ("blank lines are no rows", "x.csv", b"\n\np,c\n\na,b\n\n", [{"p": "a", "c": "b"}]),
    ("blank lines are no records", "x.jsonl", b'\n{"p":"a"}\r\n \n{"p":"b"}', [{"p": "a"}, {"p": "b"}]),
    ("a byte order mark is no content", "x.csv", b"\xef\xbb\xbfp,c\na,b\n", [{"p": "a", "c": "b"}]),
    ("nor in JSONL", "x.jsonl", b'\xef\xbb\xbf{"p":"a"}', [{"p": "a"}]),
    ("separators of other scripts stay", "x.jsonl", '{"p":"a\u2028b\u0085c"}'.encode(), [{"p": "a\u2028b\u0085c"}]),
    ("rows may differ in keys", "x.jsonl", b'{"n":1}\n{"q":[{"r":null}]}', [{"n": 1}, {"q": [{"r": None}]}]),
    ("Parquet text", "x.parquet", parquet({"p": ["2020-01-01", None]}), [{"p": "2020-01-01"}, {"p": None}]),
    ("Parquet conversations", "x.pq", parquet({"m": [[{"role": "user"}]]}), [{"m": [{"role": "user"}]}]),
    ("CSV with a header alone", "x.csv", b"p,c\n", []),
    ("Parquet without rows", "x.parquet", parquet({"p": pa.array([], pa.string())}), []),
    ("a long field", "x.csv", b"p,c\n" + b"x" * 300_000 + b",b\n", [{"p": "x" * 300_000, "c": "b"}]),
    ("a name with a pattern's signs", "a [1]*.jsonl", b'{"p":"a"}', [{"p": "a"}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "rows"), [case[1:] for case in CONTENT], ids=[case[0] for case in CONTENT])
def test_content_is_read_as_it_stands(tmp_path: Path, name: str, content: bytes, rows: list[dict[str, Any]]) -> None:
    assert list(loaded(tmp_path, name, content).rows) == rows


DAMAGE = [
    ("empty file", "x.jsonl", b"", "x.jsonl is empty"),
    ("unknown ending", "x.txt", b"a", "ending of x.txt tells no format; known: .jsonl"),
    ("JSONL cut off", "x.jsonl", b'{"p":"a"}\n{"p":"b', "line 2 is not valid JSON.*last line, so the file may be cut"),
    ("JSONL broken inside", "x.jsonl", b'{"p":"a"}\n{"p":\n{"p":"b"}', "line 2 is not valid JSON"),
    ("JSON array", "x.json", b'[{"p":"a"}]', "line 1 is not a JSON object"),
    ("JSON text", "x.jsonl", b'"a"', "line 1 is not a JSON object"),
    ("nested too deep", "x.jsonl", b'{"p":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1 is nested too deep"),
    ("endless number", "x.jsonl", b'{"p":' + b"9" * 5000 + b"}", "line 1 holds a number that is too long"),
    ("Latin-1 JSONL", "x.jsonl", b'{"p":"ok"}\n{"p":"caf\xe9"}', "not UTF-8: line 2, byte 20 of the file is 0xe9"),
    ("Latin-1 CSV", "x.csv", b"p,c\ncaf\xe9,b\n", "not UTF-8: line 2, byte 7 of the file is 0xe9"),
    ("UTF-16", "x.jsonl", '{"p":"a"}'.encode("utf-16"), "not UTF-8: line 1, byte 0 of the file is 0xff; save"),
    ("archive as JSONL", "x.jsonl", gzip.compress(b'{"p":"a"}'), "not UTF-8: line 1, byte 1"),
    ("CSV row too wide", "x.csv", b"p,c\na,b\na,b,c\n", "line 3: found 3 fields where the header has 2"),
    ("CSV row too narrow", "x.csv", b"p,c\na\n", "line 2: found 1 fields where the header has 2"),
    ("CSV cut inside quotes", "x.csv", b'p,c\na,b\n"c,d\n', "line 3 is not valid CSV.*double quote left open"),
    ("semicolons", "x.csv", b"p;c\na;b\n", "one column, with semicolons in its name; save the file with commas"),
    ("tabs", "x.csv", b"p\tc\na, b\tc\n", "one column, with tabs in its name"),
    ("CSV column twice", "x.csv", b"p,p\na,b\n", "the column 'p' 2 times"),
    ("CSV column without a name", "x.csv", b",c\na,b\n", "a column without a name"),
    ("Parquet cut off", "x.parquet", parquet({"p": ["a"] * 9})[:-20], "x.parquet is damaged or not of the format"),
    ("text as Parquet", "x.parquet", b"p,c\na,b\n", "x.parquet is damaged or not of the format"),
    ("archive as Parquet", "x.parquet", gzip.compress(b"PAR1" * 9), "x.parquet is damaged or not of the format"),
    ("Parquet with damaged pages", "x.parquet", b"PAR1" + b"\xff" * 60 + parquet({"p": ["abc"] * 9})[64:], "damaged"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "expected"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE]
)
def test_damage_is_one_message_with_key_file_and_place(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        loaded(tmp_path, name, content)

    assert str(caught.value).startswith("data.source.path: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.jsonl; paths are read from the project root"):
        load_rows(recipe(path="nowhere.jsonl"), tmp_path)


@pytest.mark.parametrize(
    "path", ["https://example.com/x.csv", "hf://datasets/a/b.csv", "zip://x.csv::y.zip", "[xy].csv", "?.csv"]
)
def test_a_path_is_never_an_address_and_no_sign_but_the_star_is_one_of_a_pattern(tmp_path: Path, path: str) -> None:
    (tmp_path / "y.csv").write_text("p,c\na,b\n")

    with pytest.raises(DataError, match="there is no file"):
        load_rows(recipe(path=path), tmp_path)


@pytest.mark.parametrize("path", ["x\0.csv", "x" * 5000 + ".csv"])
def test_a_path_that_no_file_can_have_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"^data\.source\.path: "):
        load_rows(recipe(path=path), tmp_path)


def test_a_folder_and_a_pipe_are_no_data_files(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")

    for name in ("folder.csv", "pipe.csv"):
        with pytest.raises(DataError, match="not a regular file"):
            load_rows(recipe(path=name), tmp_path)


def test_an_unreadable_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.csv"
    file.write_text("p,c\na,b\n")

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(DataError, match=r"can't read .*x\.csv: Permission denied"):
        load_rows(recipe(path="x.csv"), tmp_path)


def test_a_parquet_file_cannot_make_burnish_open_other_files(tmp_path: Path) -> None:
    import datasets

    (tmp_path / "secret.png").write_bytes(b"secret")
    pictures = datasets.Dataset.from_dict({"prompt": [str(tmp_path / "secret.png")], "completion": ["c"]})
    pictures.cast_column("prompt", datasets.Image()).to_parquet(tmp_path / "x.parquet")
    source = load_rows(recipe(path="x.parquet"), tmp_path)

    assert source.rows[0]["prompt"] == {"bytes": None, "path": str(tmp_path / "secret.png")}
    with pytest.raises(DataError, match=r"'prompt': expected text.*found an object"):
        to_records(source, recipe(path="x.parquet"))


@pytest.mark.parametrize("note", [b"{", b"[]", b'{"info": {"features": {"p": {"_type": "Nowhere"}}}}', b"\xff"])
def test_notes_that_a_parquet_file_carries_for_datasets_are_ignored(tmp_path: Path, note: bytes) -> None:
    pq.write_table(pa.table({"p": ["a"]}).replace_schema_metadata({"huggingface": note}), tmp_path / "x.parquet")

    assert list(load_rows(recipe(path="x.parquet"), tmp_path).rows) == [{"p": "a"}]


def test_a_full_disk_is_not_taken_for_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def no_space(*arguments: Any, **keywords: Any) -> None:
        raise DatasetGenerationError("failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets, "load_dataset", no_space)

    with pytest.raises(StorageError, match=r"no space left in .* set TMPDIR"):
        loaded(tmp_path, "x.csv", b"p,c\na,b\n")


def test_the_users_three_files_are_the_split(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("p,c\n1,x\n2,x\n")
    (tmp_path / "b.jsonl").write_text('{"p": "3", "c": "y", "d": "z"}')
    (tmp_path / "c.csv").write_text("c,p\nx,4\n")

    source = load_rows(recipe(train="a.csv", validation="b.jsonl", test="c.csv"), tmp_path)

    assert source.splits == ("train", "train", "validation", "test")
    assert [row["p"] for row in source.rows] == ["1", "2", "3", "4"]
    assert source.columns == ("p", "c")


def test_a_column_that_one_of_three_files_lacks_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,completion\n1,x\n")
    (tmp_path / "b.csv").write_text("prompt,answer\n1,x\n")
    own = recipe(train="a.csv", validation="a.csv", test="b.csv")

    with pytest.raises(DataError, match=r"data\.columns\.completion names 'completion'.*found: 'prompt'"):
        to_records(load_rows(own, tmp_path), own)


def test_damage_in_one_of_three_files_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("p,c\n1,x\n")
    (tmp_path / "b.csv").write_text("")

    with pytest.raises(DataError, match=r"^data\.source\.test: .*b\.csv is empty"):
        load_rows(recipe(train="a.csv", validation="a.csv", test="b.csv"), tmp_path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(alphabet='pc,"\n\r{}[]:1\\u \x00', max_size=40).map(str.encode))
def test_any_bytes_are_rows_or_one_message(tmp_path: Path, name: str, content: bytes) -> None:
    try:
        rows = loaded(tmp_path, name, content).rows
    except DataError as error:
        assert str(error).startswith("data.source.path: ")
    else:
        assert all(isinstance(row, dict) for row in rows)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_parquet_file_is_rows_or_one_message(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(parquet({"p": ["some text"] * 5, "n": [1, 2, 3, 4, 5]}))
    for _ in range(3):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    try:
        loaded(tmp_path, "x.parquet", bytes(content))
    except DataError as error:
        assert str(error).startswith("data.source.path: ")


def test_reading_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert len(loaded(tmp_path, "x.csv", b"p,c\na,b\n").rows) == 1


def test_reading_leaves_no_cache_behind(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("p,c\na,b\n")
    places = {name: tmp_path / name for name in ("HOME", "HF_HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in places.values():
        place.mkdir()
    code = (
        "import sys; from pathlib import Path;"
        "from configs.schema import Data; from tasks.data.sources import load_rows;"
        "data = Data.model_validate({'source': {'kind': 'file', 'path': 'x.csv'}});"
        "assert load_rows(data, Path(sys.argv[1])).rows"
    )

    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, **{name: str(place) for name, place in places.items()}},
        cwd=Path(__file__).parents[3],
        check=True,
    )

    left = [path for place in places.values() for path in place.rglob("*") if path.is_file()]
    assert left == []
