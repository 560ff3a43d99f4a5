"""The reference of every recipe field, made from the schema: `python -m configs.reference > docs/guides/recipes.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from configs.schema import Recipe, Section

_HEAD = """# Recipes

A recipe is one YAML file; it says only what differs from the defaults below. `key=value` on the command line goes over
the file (`search.trials=20`). All errors are reported at once. This page is made from `configs/schema.py`
(`python -m configs.reference`).
"""

_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least", "pattern": "matching"}

_VALIDATED = re.compile(r"Annotated\[(\w+), AfterValidator\(.*?\)\]")
"""A type with a function that checks it: what is allowed stands in the field's docstring."""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([_HEAD, *_section("recipe", Recipe, prefix="")]) + "\n"


def _section(title: str, section: type[Section], *, prefix: str) -> Iterator[str]:
    yield f"## {title}\n\n{(section.__doc__ or '').strip()}\n"
    yield "| key | allowed | default | meaning |\n|---|---|---|---|"
    below = []
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        sections = _sections(field.annotation)
        below += [(key if len(sections) == 1 else f"{key} ({each.__name__})", each, key) for each in sections]
        yield f"| `{key}` | {_allowed(field)} | {_default(field)} | {_cell(field.description or '')} |"
    yield ""
    for below_title, each, key in below:
        yield from _section(below_title, each, prefix=f"{key}.")


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [each for part in get_args(annotation) for each in _sections(part)]


def _allowed(field: FieldInfo) -> str:
    if _sections(field.annotation):
        return "see below"
    annotation = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    text = _VALIDATED.sub(r"\1", text)
    limits = [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in _LIMITS.items()
        if getattr(each, name, None) is not None
    ]
    return _cell(", ".join([text.replace("NoneType", "None"), *limits]))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "see below" if isinstance(field.default, Section) else f"`{_cell(repr(field.default))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
