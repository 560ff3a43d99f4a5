"""What a sub-command works on: the recipe with its settings, or the installation at hand, and its Prefect server."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from configs.environment import use_home

if TYPE_CHECKING:
    from configs.schema import Recipe
    from configs.settings import Settings

log = logging.getLogger("burnish")


def load(options: argparse.Namespace) -> tuple[Recipe, Settings, Path]:
    """Read the recipe and its settings, and send what libraries write below the recipe's home."""
    from configs.requests import RecipeRequest
    from configs.roots import resolve_recipe

    _take_recipe_given_alone(options)
    request = RecipeRequest(recipe=options.recipe, overrides=tuple(options.overrides))
    recipe, root = resolve_recipe(request, confined=False)
    return recipe, settings_of(root), root


def _take_recipe_given_alone(options: argparse.Namespace) -> None:
    """Let `burnish finetune tickets.yaml` mean what it says.

    Raises:
        RecipeError: no recipe is named.
    """
    from configs.errors import RecipeError

    if options.recipe is None:
        options.recipe = next((given for given in options.overrides if _is_recipe(given)), None)
        options.overrides = list(options.overrides)
        if options.recipe is not None:
            options.overrides.remove(options.recipe)  # the first of that name: a second one is no override
    if not options.recipe:
        raise RecipeError("say which recipe: --recipe FILE, a YAML file or the name of a shipped one")


def _is_recipe(given: str) -> bool:
    return given.endswith((".yaml", ".yml")) or "=" not in given


def existing(*, must_exist: bool = True, use_servers: bool = True) -> tuple[Path, Settings]:
    """Settings of the installation at hand: BURNISH_HOME, or the nearest `.burnish` at or above this folder."""
    from configs.settings import check_home, nearest_project_root

    root = nearest_project_root(Path.cwd(), must_exist=must_exist)
    settings = settings_of(root, use_servers=use_servers)
    if must_exist:
        check_home(settings)
    return root, settings


def existing_of(named: str) -> tuple[str, Settings]:
    """Name of a recipe, or of a run, and settings of its installation.

    Args:
        named: a name, looked for in the installation at hand; or a recipe's file, which has an installation of its own.

    Raises:
        RecipeError: the file is no recipe, or there is no installation.
    """
    from configs.loading import load_recipe, project_root_of
    from configs.settings import check_home

    if not named.endswith((".yaml", ".yml")):
        return named, existing()[1]
    recipe, settings = load_recipe(named), settings_of(project_root_of(Path(named)))
    check_home(settings)
    return recipe.name, settings


def existing_of_any(named: str | None) -> tuple[str | None, Settings]:
    """`existing_of` where something is named; else the installation at hand."""
    return existing_of(named) if named else (None, existing()[1])


def settings_of(root: Path, *, use_servers: bool = True) -> Settings:
    """Settings of a project, pointing at the servers that `burnish up` started for it, if any run."""
    from configs.settings import settings_from
    from tasks.tracking.running_servers import use_running_servers

    home = settings_from(project_root=root).home
    use_home(home)
    if use_servers:
        use_running_servers(home)
    return settings_from(project_root=root)


def prefect_server_of(settings: Settings, *, meanwhile: str | None = None) -> AbstractContextManager[str]:
    """The running Prefect server, or a temporary one on the installation's database.

    Args:
        settings: of the installation.
        meanwhile: a module that the block needs, imported while a temporary server starts.
    """
    from tasks.storage.postgres_databases import prepare_databases
    from tasks.tracking.prefect_server import prefect_server

    if settings.prefect_api_url is None:
        prepare_databases(settings)
    if meanwhile is not None:
        log.info("loading libraries …" if settings.prefect_api_url else "starting Prefect, loading libraries …")
    return prefect_server(
        settings.home, settings.prefect_api_url, database_url=settings.prefect_database_url, meanwhile=meanwhile
    )


def show_terms(recipe: Recipe) -> None:
    """Print the licence terms of the recipe's base model, where it has some to show."""
    from tasks.models.base_models import license_notice

    notice = license_notice(recipe.base)
    if notice:
        print(notice, file=sys.stderr)
