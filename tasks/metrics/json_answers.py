"""Answers that must be JSON: whether they are, by a schema, and how many fields are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from configs.errors import RecipeError
from tasks.metrics.strict_json import STRICT_JSON

Path = tuple[str | int, ...]
Leaf = tuple[Path, str, Any]
"""Where a value stands, its JSON type, and the value: true is not 1, and 1 is 1.0, as JSON has it."""

_BROKEN = object()
_TYPES: Mapping[type, str] = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def json_check(schema: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """Return the function that says whether a text is one JSON value, by the schema where there is one.

    Nothing around the value is forgiven but white space: what reads the answers in production would fail at a code
    fence too. NaN and Infinity are no JSON, and an object that says a key twice says two things.

    Raises:
        RecipeError: see `compile_schema`.
    """
    validator = None if schema is None else compile_schema(schema)

    def is_valid(text: str) -> bool:
        value = _parsed(text)
        if value is _BROKEN:
            return False
        try:
            return validator is None or bool(validator.is_valid(value))
        except (RecursionError, ArithmeticError):  # nested so deeply, or so large a number, that it can't be told
            return False

    return is_valid


def compile_schema(schema: Mapping[str, Any]) -> Any:
    """Return the `jsonschema` validator of a schema; nothing is ever fetched.

    Raises:
        RecipeError: the schema is none by its own rules, names a dialect that isn't known, or refers to something
            outside itself.
    """
    from jsonschema import exceptions, validators
    from referencing.jsonschema import EMPTY_REGISTRY

    dialect = schema.get("$schema")
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    if dialect is not None and kind.META_SCHEMA.get("$schema", "").rstrip("#") != str(dialect).rstrip("#"):
        raise RecipeError(
            f"data.json_schema: the dialect {dialect!r} is not known; "
            "use https://json-schema.org/draft/2020-12/schema or leave $schema out"
        )
    try:
        kind.check_schema(schema, format_checker=kind.FORMAT_CHECKER)
    except exceptions.SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise RecipeError(f"data.json_schema is no JSON Schema: {error.message} (at {where})") from error
    except RecursionError as error:
        raise RecipeError("data.json_schema is nested too deeply to be checked; make it flatter") from error
    _refuse_foreign_references(schema)
    return kind(schema, registry=EMPTY_REGISTRY)


def _refuse_foreign_references(schema: Mapping[str, Any]) -> None:
    """Without this an unknown reference would be met only by the answer that reaches it."""
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

    resource = DRAFT202012.create_resource({**schema, "$id": "urn:recipe"})
    resolver = EMPTY_REGISTRY.with_resource("urn:recipe", resource).crawl().resolver("urn:recipe")
    for reference in _references(schema):
        if not reference.startswith("#") or not _is_found(resolver, reference):
            raise RecipeError(
                f"data.json_schema refers to {reference!r}, which is not in the schema and is not fetched; "
                "put it below $defs and refer to it as #/$defs/NAME"
            )


def _is_found(resolver: Any, reference: str) -> bool:
    from referencing import exceptions

    try:
        resolver.lookup(reference)
    except exceptions.Unresolvable:
        return False
    return True


def _references(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield all references; an inner `$id` counts as one, since it would change what those below it mean."""
    waiting: list[Any] = [schema]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            inner = ("$ref", "$dynamicRef") if here is schema else ("$ref", "$dynamicRef", "$id")
            yield from (here[key] for key in inner if isinstance(here.get(key), str))
            waiting.extend(value for key, value in here.items() if key not in ("const", "enum", "default", "examples"))
        elif isinstance(here, list):
            waiting.extend(here)


def field_f1(output: str, reference: str) -> float:
    """F1 of the fields of two JSON texts: 0 for an output that is not JSON, None of whose fields is right.

    A field is a path to a value that holds no others, list positions included; an empty object or list is one. A
    reference that is not JSON has no fields, and is compared as it is.
    """
    wanted = _parsed(reference)
    if wanted is _BROKEN:
        return float(output.strip() == reference.strip())
    said = _parsed(output)
    if said is _BROKEN:
        return 0.0
    given, expected = Counter(_leaves(said)), Counter(_leaves(wanted))
    return 2 * (given & expected).total() / (given.total() + expected.total())


def _leaves(value: Any) -> Iterator[Leaf]:
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, here = waiting.pop()
        if isinstance(here, dict) and here:
            waiting += [((*path, key), below) for key, below in here.items()]
        elif isinstance(here, list) and here:
            waiting += [((*path, place), below) for place, below in enumerate(here)]
        elif isinstance(here, dict | list):
            yield path, "object" if isinstance(here, dict) else "array", None
        else:
            yield path, _TYPES[type(here)], here


def _parsed(text: str) -> Any:
    """The value, or `_BROKEN`."""
    try:
        return STRICT_JSON.decode(text)
    except (ValueError, RecursionError):
        return _BROKEN
