"""Functions of installed packages, found by entry point: a recipe can name nothing else to run."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from configs.errors import DataError, RecipeError


def installed(group: str) -> tuple[str, ...]:
    """Return the names of a group."""
    return tuple(sorted({point.name for point in metadata.entry_points(group=group)}))


def find_entry_point(group: str, name: str, *, key: str) -> metadata.EntryPoint:
    """Return the entry point.

    Args:
        group: such as `burnish.sources`.
        name: the entry point's.
        key: the recipe's key that names it, for errors.

    Raises:
        RecipeError: it isn't installed; the message lists those that are.
    """
    found = tuple(metadata.entry_points(group=group, name=name))
    if not found:
        raise RecipeError(
            f"{key} {name!r} is not an installed entry point of the group {group}; "
            f"installed: {', '.join(installed(group)) or 'none'}"
        )
    return found[0]


def load_function(point: metadata.EntryPoint, *, key: str) -> Callable[..., Any]:
    """Import what the entry point names.

    Raises:
        DataError: it can't be imported, or is no function.
    """
    try:
        function = point.load()
    except (ImportError, AttributeError) as error:
        raise DataError(f"{key} {point.name} ({point.value}) can't be imported: {error}; reinstall it") from error
    if not callable(function):
        raise DataError(f"{key} {point.name} ({point.value}) is not a function")
    return function  # type: ignore[no-any-return]  # what an entry point loads has no static type


def function_identity(point: metadata.EntryPoint, function: Callable[..., Any]) -> dict[str, Any]:
    """What the function's results depend on: its module's source, its package's version, those it says it uses.

    A module names other distributions whose version counts in its constant `DISTRIBUTIONS`.
    """
    module = inspect.getmodule(function)
    path = None if module is None else inspect.getsourcefile(module)
    packages = {name: _version(name) for name in getattr(module, "DISTRIBUTIONS", ())}
    if point.dist is not None:
        packages[point.dist.name] = point.dist.version
    return {
        "packages": packages,
        "source": None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
