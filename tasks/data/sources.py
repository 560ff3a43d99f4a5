"""Where records come from: files, and functions of installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from configs.errors import BurnishError, DataError, RecipeError
from configs.file_names import named_files
from configs.schema import Data, DataSource, EntryPointSource, FileSource, HubSource
from tasks.data.data_files import checked_path, file_format, read_rows
from tasks.data.records import SPLITS, SplitName
from tasks.storage.durable import digest_of, file_digest
from tasks.storage.entry_points import find_entry_point, function_identity, installed, load_function

ENTRY_POINT_GROUP = "burnish.sources"
_HINT = "; paths are read from the project root"


@dataclass(frozen=True)
class LoadedRows:
    """The rows of a source, as they came."""

    rows: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    """Every column that some row of each file has, in order of appearance."""
    splits: tuple[SplitName, ...] | None
    """The split of each row where the user brought three files."""
    places: tuple[str, ...] = ()
    """Where each row stands, for people: `record 17`, of several files with its name."""


def load_rows(data: Data, project_root: Path) -> LoadedRows:
    """Load all rows of the recipe's source.

    Raises:
        DataError: a file is missing, empty, unreadable or damaged, or a function failed.
        RecipeError: the entry point isn't installed, or doesn't take the options.
    """
    if isinstance(data.source, EntryPointSource):
        rows = _entry_point_rows(data.source)
        return LoadedRows(tuple(rows), _columns([rows]), splits=None, places=_places_of([("", rows)]))
    files = _files(data.source, project_root)
    parts = []
    for _, key, path in files:
        checked_path(path, key=key, hint=_HINT)
        parts.append(read_rows(path, file_format(path, data.source.format, key=key), key=key))
    splits = tuple(split for (split, _, _), part in zip(files, parts, strict=True) for _ in part if split)
    rows = [row for part in parts for row in part]
    names = [f"{path.name}, " if len(files) > 1 else "" for _, _, path in files]
    return LoadedRows(
        tuple(rows), _columns(parts), splits=splits or None, places=_places_of(zip(names, parts, strict=True))
    )


def source_digest(data: Data, project_root: Path, *, digest_file: Callable[[Path], str] = file_digest) -> str:
    """Hash of what the rows depend on: the files' bytes; or a function's source, options and packages.

    Args:
        data: the recipe's section.
        project_root: what relative paths are read from.
        digest_file: gives the digest of a file; `file_memory.remembering` spares reading an untouched one.

    Raises:
        DataError: a file is missing or unreadable.
        RecipeError: the entry point isn't installed.
    """
    if isinstance(data.source, EntryPointSource):
        return digest_of(_entry_point_identity(data.source))
    files: dict[str, list[str]] = {}
    for _, key, path in _files(data.source, project_root):
        checked_path(path, key=key, hint=_HINT)
        files.setdefault(key, []).extend([file_format(path, data.source.format, key=key), digest_file(path)])
    return digest_of({"kind": "file", "files": files})


def check_source(data: Data, project_root: Path) -> None:
    """Check what costs nothing: that the files are there and of a known format, that the entry point is installed.

    Raises:
        DataError: a file is missing, empty or of an unknown ending.
        RecipeError: the entry point isn't installed.
    """
    if isinstance(data.source, EntryPointSource):
        _entry_point(data.source)
        return
    if isinstance(data.source, HubSource):
        return
    for _, key, path in _files(data.source, project_root):
        file_format(checked_path(path, key=key, hint=_HINT), data.source.format, key=key)


def source_files(data: Data, project_root: Path) -> tuple[Path, ...]:
    """The files that the rows are read from and that may change: none of an entry point or a hub.

    Raises:
        DataError: a file is missing or unreadable.
    """
    if not isinstance(data.source, FileSource):
        return ()
    return tuple(checked_path(path, key=key, hint=_HINT) for _, key, path in _files(data.source, project_root))


def installed_sources() -> tuple[str, ...]:
    """Return the names that `data.source.name` may have."""
    return installed(ENTRY_POINT_GROUP)


def _files(source: DataSource, project_root: Path) -> list[tuple[SplitName | None, str, Path]]:
    """Split, key in the recipe and place of each file; those of one key in the order of their names."""
    assert isinstance(source, FileSource), "a dataset on a hub becomes files first: tasks.data.hub_source"
    given: Mapping[SplitName, str | None] = {name: getattr(source, name) for name in SPLITS}
    named = [(name, f"data.source.{name}", path) for name, path in given.items() if path is not None]
    wanted = [(None, "data.source.path", source.path)] if source.path is not None else named
    return [(split, key, path) for split, key, name in wanted for path in _places(name, project_root, key=key)]


def _places(name: str, project_root: Path, *, key: str) -> list[Path]:
    found = named_files(project_root / name)
    if not found:
        raise DataError(f"{key}: there is no file {(project_root / name).absolute()}{_HINT}")
    return found


def _places_of(parts: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> tuple[str, ...]:
    return tuple(f"{name}record {number:,}" for name, rows in parts for number in range(1, len(rows) + 1))


def _columns(parts: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[str, ...]:
    found = [dict.fromkeys(name for row in part for name in row) for part in parts]
    return tuple(name for name in found[0] if all(name in columns for columns in found))


def _entry_point_rows(source: EntryPointSource) -> list[dict[str, Any]]:
    function = _load(_entry_point(source))
    try:
        inspect.signature(function).bind(**source.options)
    except TypeError as error:
        raise RecipeError(
            f"data.source.options doesn't fit {source.name}{inspect.signature(function)}: {error}"
        ) from error
    try:
        rows = list(function(**source.options))
    except BurnishError:
        raise
    except Exception as error:  # foreign code: whatever it raises is the user's to read, with its cause attached
        raise DataError(f"data.source {source.name} failed with {type(error).__name__}: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(key, str) for key in row):
            raise DataError(f"data.source {source.name} must yield dicts with text keys; row {number} is none")
    return rows


def _entry_point(source: EntryPointSource) -> metadata.EntryPoint:
    return find_entry_point(ENTRY_POINT_GROUP, source.name, key="data.source.name")


def _load(point: metadata.EntryPoint) -> Callable[..., Iterable[dict[str, Any]]]:
    return load_function(point, key="data.source")


def _entry_point_identity(source: EntryPointSource) -> dict[str, Any]:
    point = _entry_point(source)
    code = function_identity(point, _load(point))
    return {"kind": "entry_point", "name": source.name, "options": source.options, **code}
