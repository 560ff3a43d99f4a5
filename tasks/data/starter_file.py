"""The starter recipe of a data file, on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from configs.errors import DataError, RecipeError
from configs.loading import load_recipe, project_root_of
from tasks.data.data_files import checked_path, file_format, read_rows
from tasks.data.starter_recipe import StarterRecipe, guess_recipe, recipe_name
from tasks.data.starter_text import starter_text
from tasks.storage.durable import write_text

_KEY = "init"


@dataclass(frozen=True)
class WrittenStarter:
    """A starter recipe on disk."""

    path: Path
    guessed: StarterRecipe


def write_starter(data: Path, *, output: Path | None, base: Path | None, force: bool) -> WrittenStarter:
    """Look at a data file, and write a recipe for it that loads.

    Args:
        data: CSV, JSONL or Parquet.
        output: the recipe; None: the data file's name with `.yaml`, beside it.
        base: folder of the base model; None leaves a place to fill in.
        force: write over a recipe that is there.

    Raises:
        DataError: the data can't be read, or has no rows.
        RecipeError: the recipe is there already, or can't be written.
    """
    path = checked_path(data, key=_KEY)
    target = output or data.with_suffix(".yaml")
    if target.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"--output must end in .yaml, got {target}; recipes are found by that ending")
    if target.exists() and not force:
        raise RecipeError(f"{target} is there already; give another --output, or --force to write over it")
    rows = read_rows(path, file_format(path, "auto", key=_KEY), key=_KEY)
    if not rows:
        raise DataError(f"{_KEY}: {path} has no rows; expected records")
    root = project_root_of(target)
    guessed = guess_recipe(rows)
    text = starter_text(
        guessed,
        name=recipe_name(data.stem),
        data_path=_seen_from(root, data),
        base_path=None if base is None else _seen_from(root, base),
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
    except OSError as error:
        raise RecipeError(f"can't write {target}: {error.strerror or error}") from error
    load_recipe(target)
    return WrittenStarter(target, guessed)


def _seen_from(root: Path, path: Path) -> str:
    """Return a path relative to the project root if it lies below it, else absolute."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a link stays the link that the user named
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)
