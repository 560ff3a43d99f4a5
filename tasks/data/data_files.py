"""JSONL, CSV and Parquet files as rows, through `datasets`; every damage is told with its place.

Each file is checked here first, since `datasets` tells neither line nor byte, guesses types (dates, numbers) and
unpacks whatever looks like an archive. Text stays text.
"""

from __future__ import annotations

import csv
import errno
import glob
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from configs.errors import DataError, StorageError
from configs.file_names import FORMAT_BY_ENDING, Format

_BYTE_ORDER_MARK = "\ufeff"


def checked_path(path: Path, *, key: str, hint: str = "") -> Path:
    """Return `path` if it is a file with something in it.

    Raises:
        DataError: names the recipe's key and what was found instead.
    """
    try:
        if not path.exists():
            raise DataError(f"{key}: there is no file {path.absolute()}{hint}")
        if not path.is_file():
            raise DataError(f"{key}: {path} is not a regular file; give one JSONL, CSV or Parquet file")
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{key}: {path} is empty; expected records")
    except (OSError, ValueError) as error:
        raise DataError(f"{key}: can't read {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


def file_format(path: Path, given: Literal["auto", "jsonl", "csv", "parquet"], *, key: str) -> Format:
    """Return the format that the recipe gives, or the one that the file's ending tells.

    Raises:
        DataError: the ending tells nothing.
    """
    if given != "auto":
        return given
    found = FORMAT_BY_ENDING.get(path.suffix.lower())
    if found is None:
        raise DataError(
            f"{key}: the ending of {path.name} tells no format; known: {', '.join(FORMAT_BY_ENDING)}; "
            "or set data.source.format to jsonl, csv or parquet"
        )
    return found


def read_rows(path: Path, kind: Format, *, key: str) -> list[dict[str, Any]]:
    """Read all rows of a file.

    Raises:
        DataError: the file is damaged; names line, byte or row, and never shows content.
    """
    readers: dict[Format, Callable[[Path, str], list[dict[str, Any]]]] = {
        "jsonl": _read_jsonl,
        "csv": _read_csv,
        "parquet": _read_parquet,
    }
    return readers[kind](path, key)


def _read_jsonl(path: Path, key: str) -> list[dict[str, Any]]:
    _check_encoding(path, key)
    lines = [row["text"] for row in _load("text", path, key)]
    rows = []
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if line.strip():
            is_last = number == len(lines)
            rows.append(_json_object(line, f"{key}: {path}, line {number}", is_last=is_last))
    return rows


def _json_object(line: str, place: str, *, is_last: bool) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        cut = "; it is the last line, so the file may be cut off" if is_last else ""
        raise DataError(f"{place} is not valid JSON: {error.msg} at character {error.colno}{cut}") from error
    except RecursionError as error:
        raise DataError(f"{place} is nested too deep; records need text columns, or a flat list of messages") from error
    except ValueError as error:
        raise DataError(f"{place} holds a number that is too long; write it as text") from error
    if not isinstance(value, dict):
        raise DataError(f"{place} is not a JSON object; JSONL has one object with named columns in each line")
    return value


def _read_csv(path: Path, key: str) -> list[dict[str, Any]]:
    from datasets import Features, Value

    _check_encoding(path, key)
    columns, row_count = _checked_csv_shape(path, key)
    if not row_count:
        return []
    return _load(
        "csv", path, key,
        features=Features({name: Value("large_string") for name in columns}),
        encoding="utf-8-sig", na_filter=False,
    )  # fmt: skip


def _checked_csv_shape(path: Path, key: str) -> tuple[list[str], int]:
    """Return the column names and the number of rows; every row has one field for each column."""
    csv.field_size_limit(sys.maxsize)  # Python's own limit of 128 KiB is shorter than a long document
    row_count = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        filled = (row for row in reader if row)
        try:
            columns = next(filled, [])
            _check_header(columns, f"{key}: {path}")
            for row_count, row in enumerate(filled, start=1):  # noqa: B007 - the last number is the count
                if len(row) != len(columns):
                    raise DataError(
                        f"{key}: {path}, line {reader.line_num}: found {len(row)} fields where the header has "
                        f'{len(columns)}; put fields that hold a comma or a line break in double quotes (")'
                    )
        except csv.Error as error:
            raise DataError(
                f"{key}: {path}, line {reader.line_num} is not valid CSV: {error}; is a double quote left open?"
            ) from error
    return columns, row_count


def _check_header(columns: list[str], place: str) -> None:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in columns[0]:
            raise DataError(f"{place} has one column, with {name} in its name; save the file with commas as separators")
    for name, count in Counter(columns).items():
        if not name.strip():
            raise DataError(f"{place} has a column without a name in its header; name it, or remove it")
        if count > 1:
            raise DataError(f"{place} has the column {name!r} {count} times; rename all but one")


def _read_parquet(path: Path, key: str) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    try:
        schema = pq.read_schema(path).remove_metadata()  # the metadata could ask `datasets` to open other files
        features = Features.from_arrow_schema(schema)
        row_count = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise _damaged(path, key, error) from error
    return _load("parquet", path, key, features=features) if row_count else []


def _check_encoding(path: Path, key: str) -> None:
    position = 0
    for number, line in enumerate(_binary_lines(path), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{key}: {path} is not UTF-8: line {number}, byte {position + error.start} of the file is "
                f"0x{line[error.start]:02x}; save the file as UTF-8"
            ) from error
        position += len(line)


def _binary_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _load(builder: str, path: Path, key: str, **options: Any) -> list[dict[str, Any]]:
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="burnish-") as cache:
        try:
            loaded = datasets.load_dataset(
                builder, data_files=[glob.escape(str(path))], split="train", cache_dir=cache, **options
            )
            rows: list[dict[str, Any]] = loaded.to_list()
        except (DatasetGenerationError, OSError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"{key}: no space left in {cache} to read {path}; free some, or set TMPDIR"
                ) from error
            raise _damaged(path, key, cause) from error
    return rows


def _damaged(path: Path, key: str, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{key}: {path} is damaged or not of the format that its ending tells: {reason}")
