"""The rows that a suite stopped or dropped, in a private file for a person to look at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.data.records import Record
from tasks.storage.durable import write_text

ROWS_FILE = "rows.jsonl"


def write_quarantine(
    folder: Path, records: Sequence[Record], reasons: Mapping[str, Sequence[str]], *, name: str
) -> Path:
    """Write one JSON line for each record that has a reason, and return the file's path.

    Args:
        folder: `Settings.quarantine`.
        records: all records of the snapshot.
        reasons: by record id, the rules that it broke, each as `rule:column`.
        name: `<snapshot digest>-<suite>`; a file of that name is replaced as a whole.
    """
    path = folder / name / ROWS_FILE
    lines = [
        json.dumps({"rules": list(reasons[record.record_id]), **dataclasses.asdict(record)}, ensure_ascii=False)
        for record in records
        if record.record_id in reasons
    ]
    write_text(path, "\n".join(lines) + "\n")
    return path
