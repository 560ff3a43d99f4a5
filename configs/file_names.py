"""Names of data files: what an ending says, and a `*` that stands for any part of a name."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Literal

Format = Literal["jsonl", "csv", "parquet"]
FORMAT_BY_ENDING: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


def named_files(path: Path) -> list[Path]:
    """Return the file of this name, there or not; where there is none, those that a `*` in it stands for, sorted."""
    if "*" not in str(path) or os.path.lexists(path):
        return [path]
    anchor = Path(path.absolute().anchor)
    pattern = glob.escape(str(path.absolute().relative_to(anchor))).replace("[*]", "*")
    return sorted(anchor.glob(pattern))
