"""Digests of large files, remembered: a file of gigabytes that nobody touched is not read again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.storage.durable import digest_of, file_digest, write_json

_COARSEST_CLOCK_SECONDS = 2.0
"""A file system may round times as far as this, so two writes within it can look like one."""


def remembering(memory: Path) -> Callable[[Path], str]:
    """Return a `file_digest` that reads a file only if its size, times or place differ from those remembered.

    A file that was changed a moment ago is read each time: its next change might not show in its times.

    Args:
        memory: folder with one small file for each source file.
    """

    def digest(path: Path) -> str:
        entry = memory / f"{digest_of(os.fspath(path.absolute()))[:32]}.json"
        looks = file_looks(path)
        known = _read(entry)
        if known.get("looks") == looks and isinstance(known.get("digest"), str):
            return str(known["digest"])
        found = file_digest(path)
        settled = time.time() - max(looks["modified_ns"], looks["changed_ns"]) / 1e9 > _COARSEST_CLOCK_SECONDS
        if settled and file_looks(path) == looks:
            write_json(entry, {"looks": looks, "digest": found})
        return found

    return digest


def file_looks(path: Path) -> dict[str, int]:
    """What tells cheaply that a file is another one than before: size, times (nanoseconds), inode."""
    stat = path.stat()
    return {
        "size": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
        "changed_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _read(entry: Path) -> dict[str, Any]:
    """The remembered entry; empty where there is none or it is damaged: that costs one reading of the file."""
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
