"""A name in a recipe that stands for many files: `*` for any part of a name."""

from __future__ import annotations

import glob
import os
from pathlib import Path


def named_files(path: Path) -> list[Path]:
    """Return the file of this name, there or not; where there is none, those that a `*` in it stands for, sorted."""
    if "*" not in str(path) or os.path.lexists(path):
        return [path]
    anchor = Path(path.absolute().anchor)
    pattern = glob.escape(str(path.absolute().relative_to(anchor))).replace("[*]", "*")
    return sorted(anchor.glob(pattern))
