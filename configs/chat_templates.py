"""Chat templates that a recipe keeps in files of their own: read once, so that a recipe is complete by itself."""

from __future__ import annotations

from pathlib import Path

from configs.errors import RecipeError
from configs.schema import Recipe, Template

_MOST_BYTES = 400_000


def chat_template_files(recipe: Recipe) -> dict[str, str]:
    """Return the paths that stand for chat templates, by the dotted key of their section."""
    return {
        key: template.chat_template
        for key, template in _templates(recipe).items()
        if template.chat_template is not None and _is_path(template.chat_template)
    }


def with_chat_templates(recipe: Recipe, *, project_root: Path) -> Recipe:
    """Return the recipe with the chat templates themselves where it names files.

    Raises:
        RecipeError: a file is missing, too large or no text; names key and path.
    """
    read = {
        key: _read(project_root / Path(path).expanduser(), key=f"{key}.chat_template")
        for key, path in chat_template_files(recipe).items()
    }
    if not read:
        return recipe
    changed = {
        key: template.model_copy(update={"chat_template": read[key]}) if key in read else template
        for key, template in _templates(recipe).items()
    }
    others = {name: changed[f"baseline.templates.{name}"] for name in recipe.baseline.templates}
    baseline = recipe.baseline.model_copy(update={"templates": others})
    return recipe.model_copy(update={"template": changed["template"], "baseline": baseline})


def _templates(recipe: Recipe) -> dict[str, Template]:
    others = {f"baseline.templates.{name}": template for name, template in recipe.baseline.templates.items()}
    return {"template": recipe.template, **others}


def _is_path(text: str) -> bool:
    """A template says something in Jinja; a path doesn't."""
    return "{{" not in text and "{%" not in text and "\n" not in text.strip()


def _read(path: Path, *, key: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"{key}: can't read {path}: {reason}; give a file with Jinja, or the template itself"
        ) from error
    if len(content) > _MOST_BYTES:
        raise RecipeError(f"{key}: {path} has more than {_MOST_BYTES:,} bytes; give a file with one chat template")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{key}: {path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    if _is_path(text):
        raise RecipeError(f"{key}: {path} holds no Jinja ({{{{ … }}}} or {{% … %}}); give a file with a chat template")
    return text
