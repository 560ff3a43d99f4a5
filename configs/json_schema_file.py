"""Read the file that `data.json_schema` names, so that what the recipe says is whole and goes into identities."""

from __future__ import annotations

import json
from pathlib import Path

from configs.errors import RecipeError
from configs.schema import Recipe

_MAX_BYTES = 1_000_000


def with_schema_read(recipe: Recipe, project_root: Path) -> Recipe:
    """Return the recipe with the schema in place of its path.

    Raises:
        RecipeError: the file is outside the project root, isn't there, is too large or holds no JSON object.
    """
    given = recipe.data.json_schema
    if not isinstance(given, str):
        return recipe
    root = project_root.resolve()
    path = (root / given).resolve()
    if not path.is_relative_to(root):
        raise RecipeError(f"data.json_schema must be below the project root {root}, got {given}; copy the file there")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"data.json_schema: can't read {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise RecipeError(f"data.json_schema: {path} has {len(content)} bytes; a schema has at most {_MAX_BYTES}")
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"data.json_schema: {path} is not JSON ({error}); write the schema as one object") from error
    if not isinstance(schema, dict) or not schema:
        raise RecipeError(f"data.json_schema: {path} must hold a JSON object with the schema, and not an empty one")
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"json_schema": schema})})
