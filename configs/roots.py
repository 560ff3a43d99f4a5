"""Which recipes, data and models may be named by what comes through Prefect: those below the configured roots."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.chat_templates import chat_template_files, with_chat_templates
from configs.errors import RecipeError
from configs.file_names import named_files
from configs.json_schema_file import with_schema_read
from configs.loading import SHIPPED, load_recipe, project_root_of
from configs.requests import RecipeRequest
from configs.schema import FileSource, FolderBase, Recipe

ROOTS = "BURNISH_ROOTS"
"""Environment variable: folders, joined by the system's path separator. Burnish's own recipes always count."""

CHANGEABLE = ("base", "description", "evaluation.batch_tokens", "retraining", "search", "seed", "training")
"""What may be overridden through Prefect: how a model is made. What it is measured on and by stands in the file, or a
form could earn an alias with its own test records, rivals, gates or prices, or under another model's name."""


def configured_roots(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders below which recipes, data and models may be named, the shipped recipes' folder first."""
    environment = os.environ if environment is None else environment
    given = [Path(root).expanduser() for root in environment.get(ROOTS, "").split(os.pathsep) if root]
    return tuple(dict.fromkeys(root.resolve() for root in (SHIPPED, *given)))


def roots_of(home: Path, given: str) -> str:
    """Return the roots of an installation as the environment variable holds them, wherever the shell stands.

    Args:
        home: its home. One that lies in a project, as `.burnish`, makes that project the root; any other one, none.
        given: what the environment variable says; taken as it is, with absolute paths.
    """
    if given:
        return os.pathsep.join(str(Path(root).expanduser().absolute()) for root in given.split(os.pathsep) if root)
    project = home.absolute().parent
    return str(project) if home.name == ".burnish" and project != Path(project.anchor) else ""


def recipe_names(roots: Sequence[Path] | None = None) -> list[str]:
    """Return the names of the recipes that a form may offer: `<root>/<name>.yaml` and `<root>/configs/<name>.yaml`."""
    return sorted(_recipes(configured_roots() if roots is None else roots))


def recipe_reference(given: str) -> str:
    """Return how another request may name a recipe that was given by name or by path: by its name."""
    path = Path(given)
    return path.stem if path.suffix in (".yaml", ".yml") else given


def recipe_argument(given: str) -> str:
    """Return how a command may name a recipe from any folder: its absolute path, or the name of a shipped one."""
    path = Path(given)
    found = path if path.is_file() else _recipes(configured_roots()).get(given)
    if found is None or found.resolve().parent == SHIPPED.resolve():
        return given if found is None else found.stem
    return str(found.absolute())


def resolve_recipe(request: RecipeRequest, *, confined: bool) -> tuple[Recipe, Path]:
    """Read the request's recipe, with its overrides; return it with its project root.

    Args:
        request: what was asked.
        confined: the request came through Prefect, so it may reach nothing outside the configured roots.

    Raises:
        RecipeError: no such recipe, values that aren't allowed, a path outside the roots, or an override of what a
            model is measured on or by.
    """
    roots = configured_roots()
    known = _recipes(roots)
    given = Path(request.recipe)
    path = given if given.is_file() and not confined else known.get(request.recipe)
    if path is None:
        if confined:
            raise RecipeError(
                f"no recipe {request.recipe!r} below the configured roots ({', '.join(map(str, roots))}); "
                f"there are {', '.join(sorted(known))}; {ROOTS} adds folders"
            )
        path = given
    recipe = load_recipe(path, request.overrides)
    root = project_root_of(path)
    if confined:
        _check_confined(recipe, project_root=root, roots=roots)
        check_changeable(request.overrides, path)
    return with_chat_templates(with_schema_read(recipe, root), project_root=root), root


def _recipes(roots: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in roots:
        for folder in (root, root / "configs"):
            for path in sorted(folder.glob("*.yaml")):
                if path.resolve().is_relative_to(root) and _looks_like_a_recipe(path):
                    found.setdefault(path.stem, path)
    return found


def _looks_like_a_recipe(path: Path) -> bool:
    """Whether a YAML file has a recipe's keys; other files may lie beside recipes."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return all(f"\n{key}:" in f"\n{text}" for key in ("name", "base", "data"))


def _check_confined(recipe: Recipe, *, project_root: Path, roots: Sequence[Path]) -> None:
    source, base = recipe.data.source, recipe.base
    named: dict[str, str | None] = {}
    if isinstance(source, FileSource):
        named |= {f"data.source.{key}": getattr(source, key) for key in ("path", "train", "validation", "test")}
    if isinstance(base, FolderBase):
        named["base.path"] = base.path
    if isinstance(recipe.data.json_schema, str):
        named["data.json_schema"] = recipe.data.json_schema
    named |= {f"{key}.chat_template": path for key, path in chat_template_files(recipe).items()}
    for key, value in named.items():
        if value is None:
            continue
        path = project_root / Path(value).expanduser()
        if not _is_below(path, roots) or not all(_is_below(each, roots) for each in named_files(path)):
            raise RecipeError(
                f"{key} is outside the configured roots, got {value}; allowed below {', '.join(map(str, roots))}; "
                f"{ROOTS} adds folders"
            )


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    """Whether whoever opens the path reads something below one of the roots."""
    return any(path.resolve().is_relative_to(root) for root in roots)


def check_changeable(overrides: Sequence[str], path: Path) -> None:
    """Refuse overrides of what a model is judged by.

    Raises:
        RecipeError: names them, and what may be changed.
    """
    keys = [override.partition("=")[0] for override in overrides]
    refused = [key for key in keys if not any(key == part or key.startswith(f"{part}.") for part in CHANGEABLE)]
    if refused:
        raise RecipeError(
            f"{', '.join(refused)}: not changed through Prefect, since the model is judged by it; allowed there: "
            f"{', '.join(CHANGEABLE)}; write it into {path.name}, or run the recipe from the command line"
        )
