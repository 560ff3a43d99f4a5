"""Answers as files, and options as JSON. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from configs.errors import StorageError
from tasks.data.records import Record
from tasks.inference.options import Answer, Answers, Option
from tasks.storage.durable import digest_of, new_directory, read_manifest

ANSWERS_FILE = "answers.parquet"
_OPTION = TypeAdapter(Option)


def option_as_json(option: Option) -> dict[str, Any]:
    """Return an option as a JSON-serialisable value, its template included."""
    value: dict[str, Any] = _OPTION.dump_python(option, mode="json")
    return value


def option_from_json(value: dict[str, Any]) -> Option:
    """Return the option that `option_as_json` made the value of."""
    return _OPTION.validate_python(value)


def option_key(option: Option) -> str:
    """Return the digest of everything about an option that decides what it answers; its name does not."""
    value = option_as_json(option)
    # looks at the test set are on record under keys without these
    younger = {"conditions": None, "shot_order": 0, "first": None, "first_max_new_tokens": 0}
    ignored = {"name", "kind", *(field for field, unset in younger.items() if value[field] == unset)}
    return digest_of({field: value[field] for field in value if field not in ignored})


def select_records(records: Sequence[Record], limit: int | None) -> list[Record]:
    """Return at most `limit` records in the order of their content hash, so that all options see the same ones."""
    return sorted(records, key=lambda record: record.record_id)[:limit]


def write_answers(answers: Answers, directory: Path, **about: Any) -> str:
    """Store answers under `directory/<digest>` and return the digest of content, times and `about`.

    Args:
        answers: what to store.
        directory: where all answers are (`home/answers`).
        about: JSON-serialisable values that go into the manifest as they are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [asdict(answer) for answer in answers.answers]
    times = {"records_per_second": answers.records_per_second, "latency_seconds": list(answers.latency_seconds)}
    digest = digest_of({"answers": rows, **times, "about": about})
    with new_directory(directory / digest, **about, **times) as target:
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), target / ANSWERS_FILE)
    return digest


def read_answers(directory: Path, digest: str) -> Answers:
    """Read what `write_answers` stored under `directory/<digest>`.

    Raises:
        StorageError: the answers aren't there or are damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = directory / digest
    manifest = read_manifest(source)
    try:
        rows = pq.read_table(source / ANSWERS_FILE).to_pylist()
        return Answers(
            answers=tuple(Answer(**{**row, "samples": tuple(row["samples"])}) for row in rows),
            records_per_second=float(manifest["records_per_second"]),
            latency_seconds=tuple(manifest["latency_seconds"]),
        )
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"the answers in {source} are damaged ({reason}); delete it and run again") from error


def _schema() -> Any:
    import pyarrow as pa

    texts, numbers = ("record_id", "output"), ("prompt_tokens", "output_tokens")
    columns = [(name, pa.string()) for name in texts] + [(name, pa.int64()) for name in numbers]
    return pa.schema([*columns, ("samples", pa.list_(pa.string()))])
