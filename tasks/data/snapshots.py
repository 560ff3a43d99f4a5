"""Snapshots: immutable, content-addressed versions of the records and their split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from configs.errors import DataError, StorageError
from tasks.data.records import SPLITS, Record, SplitName, ToolCall, Turn
from tasks.storage.durable import new_directory, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS_FILE = "records.parquet"


@dataclass(frozen=True)
class Snapshot:
    """The records of one snapshot, in source order."""

    digest: str
    records: tuple[Record, ...]
    labels: tuple[str, ...] | None
    """The closed set of completions; None: open generation."""
    parent: str | None
    """The snapshot that this one was made from by dropping records."""
    source_digest: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of records by split."""
        return _counts(self.records)

    def split(self, name: SplitName) -> tuple[Record, ...]:
        """Return the records of one split, in source order."""
        return tuple(record for record in self.records if record.split == name)


def resolve_labels(
    labels: tuple[str, ...] | Literal["infer"] | None, records: Iterable[Record]
) -> tuple[str, ...] | None:
    """Return the closed label set: the recipe's own in its order, or the training completions sorted.

    Raises:
        DataError: the set has fewer than two labels, or names one twice.
    """
    if labels is None:
        return None
    if labels == "infer":
        training = [record.completion for record in records if record.split == "train"]
        resolved = tuple(sorted(set(training)))
        where = f"data.labels: infer, in {len(training)} training record{'s' if len(training) != 1 else ''}, found"
    else:
        resolved, where = labels, "data.labels lists"
    repeated = [label for label, count in Counter(resolved).items() if count > 1]
    if repeated:
        raise DataError(f"{where} {repeated[0]!r} more than once; list each label once")
    if len(resolved) < 2:
        raise DataError(
            f"{where} {len(resolved)} label(s), and a closed label set needs at least 2; bring more records, check the "
            "column named by data.columns.completion, or leave data.labels out for open generation"
        )
    return resolved


def write_snapshot(
    records: Sequence[Record],
    *,
    snapshots: Path,
    source_digest: str,
    parent: str | None = None,
    labels: tuple[str, ...] | Literal["infer"] | None = None,
) -> str:
    """Store records under `snapshots/<digest>` and return the digest; the same content is stored once.

    The digest covers the records, their order and split, and the label set. Source and parent are provenance: they
    stand in the manifest of whoever stored the content first.

    Args:
        records: All records, each with its split.
        snapshots: The folder of all snapshots.
        source_digest: What the records were made from.
        parent: The snapshot that these records are left of.
        labels: As `data.labels` of the recipe; resolved here.

    Raises:
        DataError: a split has no records, or the label set is too small.
    """
    counts = _checked_counts(records, parent)
    label_set = resolve_labels(labels, records)
    digest = _content_digest(records, label_set)
    if _has_records(snapshots / digest, digest):
        return digest
    about = {
        "digest": digest,
        "parent": parent,
        "counts": counts,
        "labels": label_set,
        "source_digest": source_digest,
    }
    import pyarrow.parquet as pq

    with new_directory(snapshots / digest, **about) as directory:
        pq.write_table(_table(records), directory / RECORDS_FILE)
    return digest


def read_snapshot(snapshots: Path, digest: str) -> Snapshot:
    """Read a snapshot and check that its content still has its digest.

    Raises:
        StorageError: the snapshot isn't there or its files are damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory = snapshots / digest
    manifest = read_manifest(directory)
    try:
        rows = pq.read_table(directory / RECORDS_FILE).to_pylist()
        records = tuple(_record(row) for row in rows)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise _damaged(directory, str(error).splitlines()[0]) from error
    labels = manifest.get("labels")
    if _content_digest(records, labels) != digest:
        raise _damaged(directory, "its content does not have its digest")
    return Snapshot(
        digest=digest,
        records=records,
        labels=None if labels is None else tuple(labels),
        parent=manifest.get("parent"),
        source_digest=manifest.get("source_digest", ""),
    )


def _checked_counts(records: Sequence[Record], parent: str | None) -> dict[str, int]:
    counts = _counts(records)
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        state = ", ".join(f"{name} {count}" for name, count in counts.items())
        action = (
            "look at the dropped rows in the quarantine, then mend the data or relax the rule in validation.overrides"
            if parent
            else "add records, raise data.split.validation_fraction or test_fraction, or bring your own split"
        )
        raise DataError(f"no records are left for {' and '.join(empty)} ({state}); each split needs one: {action}")
    return counts


def _counts(records: Iterable[Record]) -> dict[str, int]:
    found: Counter[str] = Counter(record.split for record in records)
    return {name: found[name] for name in SPLITS}


def _content_digest(records: Sequence[Record], labels: Sequence[str] | None) -> str:
    digest = hashlib.sha256(_json(None if labels is None else list(labels)).encode())
    for record in records:
        digest.update(b"\n" + _json(_row(record)).encode())
    return digest.hexdigest()


def _has_records(directory: Path, digest: str) -> bool:
    if not directory.exists():
        return False
    try:
        read_snapshot(directory.parent, digest)
    except StorageError:
        return False
    return True


def turn_values(turn: Turn) -> list[Any]:
    """Return a turn as JSON values: role and content, and what belongs to tools where there is any."""
    calls = [[call.name, call.arguments, call.id] for call in turn.tool_calls]
    beside = {"tool_calls": calls or None, "tool_call_id": turn.tool_call_id, "name": turn.name}
    given = {key: value for key, value in beside.items() if value is not None}
    return [turn.role, turn.content, *([given] if given else [])]


def _turn(role: Any, content: str, beside: dict[str, Any] | None = None) -> Turn:
    given = dict(beside or {})
    calls = tuple(ToolCall(*call) for call in given.pop("tool_calls", ()))
    return Turn(role, content, calls, **given)


def _row(record: Record) -> dict[str, str]:
    row = {
        "record_id": record.record_id,
        "split": record.split,
        "group": record.group,
        "turns": _json([turn_values(turn) for turn in record.turns]),
        "completion": record.completion,
        "meta": _json(dict(record.metadata)),
    }
    if record.answer is not None:
        row["answer"] = _json(turn_values(record.answer))
    if record.tools is not None:
        row["tools"] = record.tools
    return row  # columns that only some records fill stand only there, so that snapshots without them stay the same


def _record(row: dict[str, Any]) -> Record:
    return Record(
        record_id=row["record_id"],
        split=row["split"],
        group=row["group"],
        turns=tuple(_turn(*values) for values in json.loads(row["turns"])),
        completion=row["completion"],
        metadata=json.loads(row["meta"]),
        answer=None if row.get("answer") is None else _turn(*json.loads(row["answer"])),
        tools=row.get("tools"),
    )


def _table(records: Sequence[Record]) -> pa.Table:
    import pyarrow as pa

    rows = [_row(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.large_string()) for name in names})


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _damaged(directory: Path, reason: str) -> StorageError:
    return StorageError(f"snapshot {directory} is damaged ({reason}); delete it and run again")
