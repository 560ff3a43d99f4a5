"""The rows that a suite stopped or dropped, in a private file for a person to look at."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.data.records import Record
from tasks.storage.durable import write_text

ROWS_FILE = "rows.jsonl"

_INVISIBLE = re.compile("[\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
"""What JSON leaves as it is, but what breaks lines, steers a terminal or can't be seen or encoded."""


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
        _line({"rules": list(reasons[record.record_id]), **dataclasses.asdict(record)})
        for record in records
        if record.record_id in reasons
    ]
    write_text(path, "".join(lines))
    return path


def _line(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
