"""Read a recipe: YAML, then `key=value` overrides, then the schema; all errors are reported at once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.errors import RecipeError
from configs.file_names import FORMAT_BY_ENDING
from configs.hints import closest, did_you_mean
from configs.known_keys import key_that_was_meant
from configs.schema import NAME_IN_WORDS, NAME_PATTERN, Recipe

SHIPPED = Path(__file__).parent
"""The folder of the recipes that come with Burnish."""

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_MOST_FILES_SHOWN = 10
_DATA_ENDINGS = FORMAT_BY_ENDING.keys() - {".json"}
"""A recipe may be JSON, which is YAML too."""


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe at `path` and apply overrides such as `training.epochs=2`.

    Raises:
        RecipeError: unreadable file, bad YAML, an override that names nothing, or values not allowed. The message
            lists every problem with file, dotted key, what was found and what is allowed.
    """
    path = Path(path)
    if path.suffix.lower() in _DATA_ENDINGS and path.is_file():
        command = f"burnish init {shlex.quote(str(path))}"
        raise RecipeError(f"{path} is a data file; `{command}` looks at it and writes a recipe for it")
    document = _read_yaml(path)
    for override in overrides:
        _apply_override(document, override)
    return parse_recipe(document, source=str(path))


def parse_recipe(document: Any, *, source: str) -> Recipe:
    """Check a recipe that was already read; `source` names it in errors.

    Raises:
        RecipeError: values not allowed; every problem is listed.
    """
    if not isinstance(document, dict):
        raise RecipeError(f"{source}: a recipe is a mapping of keys to values, got {_shown(document)}")
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise RecipeError(f"{source}: {count} in the recipe\n{lines}") from error


def project_root_of(recipe_path: Path) -> Path:
    """The folder that relative paths and `.burnish/` belong to: the recipe's folder, or above its `configs/`."""
    folder = recipe_path.absolute().parent
    return folder.parent if folder.name == "configs" else folder


def shipped_recipes() -> list[Path]:
    """Paths of the recipes that come with Burnish."""
    return sorted(SHIPPED.glob("*.yaml"))


class _SafeLoader(yaml.SafeLoader):
    """YAML without aliases (a small file can't grow into a huge value) and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"aliases (*{event.anchor}) are not allowed in a recipe; write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be text; put text that starts with { in quotes",
                    problem_mark=key_node.start_mark,
                )
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key_node.value!r} stands twice; keep one", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _recipes_at_hand(path: Path) -> str:
    """What to give instead of a path where nothing is: the YAML files beside it, and the shipped recipes."""
    files = path.parent.glob("[!.]*") if path.parent != SHIPPED else ()
    beside = sorted(file.name for file in files if file.suffix in (".yaml", ".yml"))
    shipped = [recipe.stem for recipe in shipped_recipes()]
    by_stem = {Path(name).stem: name for name in beside}
    close = closest(path.name, beside) or by_stem.get(closest(path.stem, by_stem) or "") or closest(path.stem, shipped)
    meant = f"did you mean {close}? " if close else ""
    some = ", ".join(beside[:_MOST_FILES_SHOWN]) + (", …" if len(beside) > _MOST_FILES_SHOWN else "")
    there = f"in that folder: {some}; " if beside else ""
    return f"{meant}give the path of a YAML file ({there}shipped, by name: {', '.join(shipped)})"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe at {path}; {_recipes_at_hand(path)}") from error
    except OSError as error:
        raise RecipeError(f"can't read the recipe {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise RecipeError(f"{path} has {len(content)} bytes; a recipe has at most {_MAX_BYTES}")
    try:
        document = yaml.load(content.decode("utf-8"), _SafeLoader)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not a valid recipe: {_yaml_problem(error)}") from error
    if document is None:
        raise RecipeError(f"{path} is empty; a recipe needs at least name, base and data (see configs/smoke.yaml)")
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, got {_shown(document)}")
    if _depth(document) > _MAX_DEPTH:
        raise RecipeError(f"{path} nests deeper than {_MAX_DEPTH} levels")
    return document


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]


def _depth(value: Any, level: int = 0) -> int:
    if level > _MAX_DEPTH or not isinstance(value, dict | list):
        return level
    children = value.values() if isinstance(value, dict) else value
    return max((_depth(child, level + 1) for child in children), default=level)


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"an override is key=value, such as training.epochs=2; got {override!r}")
    try:
        value = yaml.load(text, _SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"override {key}: {text!r} is not a YAML value ({_yaml_problem(error)})") from error
    section = document
    for part in parts[:-1]:
        below = section.setdefault(part, {})
        if not isinstance(below, dict):
            raise RecipeError(f"override {key}: {part} holds {_shown(below)}, not a section")
        section = below
    section[parts[-1]] = value


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"] if not _is_union_tag(part))
    found = problem["input"]
    if problem["type"] == "extra_forbidden":
        hint = key_that_was_meant(key, problem["loc"])
        return f"{key}: unknown key; {hint}" if hint else f"{key}: unknown key"
    if problem["type"] == "missing":
        return f"{key}: required, but not given"
    if problem["type"] == "string_pattern_mismatch" and problem["ctx"]["pattern"] == NAME_PATTERN:
        return f"{key}: {NAME_IN_WORDS}, got {_shown(found)}"
    if problem["type"] == "union_tag_not_found":
        return f"{key}.kind: required, but not given"
    if problem["type"] == "union_tag_invalid":
        kinds = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{key}.kind: unknown {_shown(found['kind'])}; {did_you_mean(problem['ctx']['tag'], kinds)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, got {_shown(found)}"


_UNION_TAGS = frozenset(
    {"Range", "Choices", "tuple[str, ...]", "tiny", "folder", "package", "hub", "file", "entry_point"}
)


def _is_union_tag(part: Any) -> bool:
    """Whether pydantic added this part to say which branch of a union it tried."""
    return isinstance(part, str) and (part in _UNION_TAGS or part.startswith(("tuple[", "literal[", "function-")))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
