"""The keys that a recipe knows, and which of them an unknown one was probably meant for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from configs.hints import closest, did_you_mean
from configs.schema import SEARCHABLE, Recipe, Section

_MOST_OFFERED = 3


def key_that_was_meant(key: str, location: Sequence[Any]) -> str:
    """Say what to write instead of an unknown key; empty where its section isn't known.

    A name like it in its own section comes first, then the same name in another one, then all that are allowed. At the
    top the same name in a section comes first: people leave the section out.

    Args:
        key: the unknown one, dotted.
        location: where pydantic found it: names, places in a list, and which branch of a union it tried.
    """
    section, _, name = key.rpartition(".")
    own = sorted({field for each in _sections_at(location[:-1]) for field in each.model_fields})
    close = closest(name, own) or _only_one_with_its_words(name, own)
    if section:
        meant = [f"{section}.{close}"] if close else _in_another_section(section, name)
    else:
        meant = _named(name) or ([close] if close else _named(closest(name, map(_last, _keys()))))
    return f"did you mean {' or '.join(meant)}?" if meant else did_you_mean(name, own)


def _only_one_with_its_words(name: str, known: Sequence[str]) -> str | None:
    words = set(name.split("_"))
    found = [each for each in known if words <= set(each.split("_"))]
    return found[0] if len(found) == 1 else None


def _in_another_section(section: str, name: str) -> list[str]:
    if section == "search" and name in SEARCHABLE:
        return [f"search.space.{name}"]
    top = section.partition(".")[0]
    if near := [key for key in _named(name) if key.startswith(f"{top}.") and key != f"{section}.{name}"]:
        return near
    if section != top:
        return []
    if name == "seed":
        return ["seed (at the top of the recipe)"]
    return [key for key in _named(name) if key.count(".") == 1 and not key.startswith("base.")]


def _named(name: str | None) -> list[str]:
    """Return the keys of sections that have this name; none where there are too many to choose from."""
    found = [key for key in _keys() if "." in key and _last(key) == name]
    return found if len(found) <= _MOST_OFFERED else []


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _keys() -> list[str]:
    return list(dict.fromkeys(_keys_below(Recipe, "")))


def _keys_below(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        if get_origin(field.annotation) is not dict:  # whose keys are the user's
            for below in _sections_in(field.annotation):
                yield from _keys_below(below, f"{prefix}{name}.")


def _sections_at(location: Sequence[Any]) -> list[type[Section]]:
    """Return the sections that may stand there: several where a union is, and none of its branches was named."""
    found: list[type[Section]] = [Recipe]
    for part in location:
        if tagged := [each for each in found if part in _tags(each)]:
            found = tagged
        elif below := [each.model_fields[part].annotation for each in found if part in each.model_fields]:
            found = [section for annotation in below for section in _sections_in(annotation)]
    return found


def _tags(section: type[Section]) -> tuple[Any, ...]:
    kind = section.model_fields.get("kind")
    return (section.__name__, *(get_args(kind.annotation) if kind else ()))


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)
