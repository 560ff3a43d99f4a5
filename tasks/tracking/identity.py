"""A stage's identity: the hash of all it depends on. Equal identity, equal result, so the stage is not redone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks.storage.durable import digest_of

_PROJECT = Path(__file__).resolve().parents[2]
_IMPORTED_ROOM = re.compile(r"(tasks\.\w+|expectations)(\.\w+)*")
_JOB_NAME = re.compile(r"(tasks\.\w+)(\.\w+)+(:\w+)?")


def stage_identity(
    name: str, inputs: Mapping[str, Any], *, rooms: Sequence[str], libraries: Sequence[str], root: Path = _PROJECT
) -> str:
    """Return the identity of a stage, in hex.

    Args:
        name: the stage.
        inputs: JSON values it reads: digests, recipe sections, seed, precision.
        rooms: packages whose code makes the result, such as `tasks.training`; the rooms that they import (or name
            in a string, as worker jobs are) count too. `configs` doesn't: its sections come by value in `inputs`.
        libraries: distributions whose version may change the result.
        root: where the packages lie.
    """
    sources = {room: _room_digest(root, room) for room in sorted(rooms_used_by(rooms, root=root))}
    return digest_of(
        {
            "stage": name,
            "inputs": dict(inputs),
            "sources": sources,
            "libraries": {library: _version(library) for library in sorted(set(libraries))},
        }
    )


def rooms_used_by(rooms: Sequence[str], *, root: Path = _PROJECT) -> frozenset[str]:
    """Return the rooms and all those that they use, directly or not.

    Raises:
        ValueError: a room isn't there.
    """
    used: set[str] = set()
    waiting = list(rooms)
    while waiting:
        room = waiting.pop()
        if room not in used:
            used.add(room)
            waiting.extend(_imports(root, room))
    return frozenset(used)


@cache
def _trees(root: Path, room: str) -> tuple[tuple[Path, ast.Module], ...]:
    folder = root.joinpath(*room.split("."))
    if not (folder / "__init__.py").is_file():
        raise ValueError(f"{room!r} is not a room; give a package such as 'tasks.data'")
    return tuple((path, ast.parse(path.read_bytes())) for path in sorted(folder.rglob("*.py")))


@cache
def _room_digest(root: Path, room: str) -> str:
    """Digest of a room's code by relative path; comments, layout and times don't count."""
    return digest_of({path.relative_to(root).as_posix(): ast.dump(tree) for path, tree in _trees(root, room)})


@cache
def _imports(root: Path, room: str) -> frozenset[str]:
    """Rooms that the files of a room import anywhere (functions included) or name as a worker's job."""
    named = (match for _, tree in _trees(root, room) for match in _matches(tree))
    found = {match.group(1) for match in named if match}
    return frozenset(used for used in found if (root.joinpath(*used.split(".")) / "__init__.py").is_file())


def _matches(tree: ast.AST) -> Iterator[re.Match[str] | None]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_IMPORTED_ROOM.fullmatch(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield _IMPORTED_ROOM.fullmatch(node.module)
            yield from (_IMPORTED_ROOM.fullmatch(f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _JOB_NAME.fullmatch(node.value)


@cache
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
