"""The Jinja sandbox in which the templates of a recipe render: no loops, no attributes, no calls, bounded size.

Recipes come from outside, so a template may use a small part of Jinja only. What is left can neither reach a Python
object nor run longer than its own length times the length of a record.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from configs.errors import RecipeError

if TYPE_CHECKING:
    from jinja2 import Template as CompiledTemplate
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

MAX_TEMPLATE_CHARACTERS = 100_000
MAX_RENDERED_CHARACTERS = 10_000_000
FILTERS = ("capitalize", "default", "length", "lower", "replace", "title", "tojson", "trim", "upper")
TESTS = ("defined", "eq", "in", "ne", "none", "undefined")
_TEXT_NODES = ("Template", "Output", "TemplateData", "If")
_VALUE_NODES = ("Name", "Const", "Filter", "Keyword", "Test", "Slice", "Neg", "List", "Tuple")
_LOGIC_NODES = ("CondExpr", "Compare", "Operand", "And", "Or", "Not")
NODES = frozenset((*_TEXT_NODES, *_VALUE_NODES, *_LOGIC_NODES, "Getitem"))
_ALLOWED = f"variables, [start:end], if, comparisons and the filters {', '.join(FILTERS)}"


class Content(str):
    """Text that came out of a variable, told apart from the template's own text after rendering."""

    __slots__ = ()

    def __str__(self) -> str:
        """Stay a `Content` when Jinja turns the value into a string."""
        return self


def check_source(
    source: str, variables: set[str], *, where: str, called: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Check one template before any record is rendered.

    Args:
        source: The Jinja source.
        variables: Names that it may use.
        where: Dotted key for messages, such as `template.prompt`.
        called: What names of the user's own are called here.

    Raises:
        RecipeError: a syntax error, something outside the sandbox, or an unknown variable.
    """
    from jinja2 import meta, nodes

    _compiled(source, where)
    tree = _environment().parse(source)
    # {{ x | default("") }} and {{ x is defined }} name a variable on purpose though it may be missing.
    guarded = {
        name.name
        for node in [*tree.find_all(nodes.Filter), *tree.find_all(nodes.Test)]
        if node.name in ("default", "defined", "undefined")
        for name in node.find_all(nodes.Name)
    }
    unknown = sorted(meta.find_undeclared_variables(tree) - variables - guarded)
    if unknown:
        ours = called.get(unknown[0])
        remedy = (
            f"in a template the column {unknown[0]} is called {ours}"
            if ours in variables
            else "add a column to data.columns.metadata to use it"
        )
        raise RecipeError(
            f"{where} uses {', '.join(map(repr, unknown))}, which is not there; allowed: "
            f"{', '.join(sorted(variables))}; {remedy}"
        )


def render_pieces(source: str, values: Mapping[str, str], *, where: str, row: str) -> list[tuple[str, bool]]:
    """Render one template to pieces of (text, is the template's own).

    Raises:
        RecipeError: the template is not allowed, uses a missing value, or its output is too long.
    """
    from jinja2 import TemplateError

    pieces: list[tuple[str, bool]] = []
    size = 0
    try:
        for chunk in _compiled(source, where).generate(values):
            size += len(chunk)
            if size > MAX_RENDERED_CHARACTERS:
                raise RecipeError(
                    f"{where} makes more than {MAX_RENDERED_CHARACTERS:,} characters of record {row}; shorten it"
                )
            pieces.append((chunk, not isinstance(chunk, Content)))
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(f"{where} can't be rendered for record {row}: {error}; allowed: {_ALLOWED}") from error
    return pieces


@functools.lru_cache(maxsize=256)
def _compiled(source: str, where: str) -> CompiledTemplate:
    from jinja2 import TemplateError

    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise RecipeError(
            f"{where} must have at most {MAX_TEMPLATE_CHARACTERS:,} characters, got {len(source):,}; shorten it"
        )
    environment = _environment()
    try:
        for node in walk(environment.parse(source)):
            if not _is_allowed(node):
                name = type(node).__name__.lower()
                raise RecipeError(f"{where} uses {name} in line {node.lineno}; allowed: {_ALLOWED}")
        return environment.from_string(source)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        place = f" in line {line}" if line else ""
        raise RecipeError(f"{where} is not a valid template{place}: {error}; allowed: {_ALLOWED}") from error
    except (RecursionError, SyntaxError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(f"{where} is not a valid template: {error}; allowed: {_ALLOWED}") from error


def _is_allowed(node: nodes.Node) -> bool:
    from jinja2 import nodes

    if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Slice):
        return False  # value["name"] falls back to an attribute
    if isinstance(node, nodes.Name) and node.name == "self":
        return False  # Jinja's own reference to the template, which is no variable of a record
    return type(node).__name__ in NODES


def walk(tree: nodes.Node) -> list[nodes.Node]:
    """Return all nodes of a parsed template, the outermost first."""
    found: list[nodes.Node] = [tree]
    for node in found:  # the list grows while it is read: breadth first, without recursion
        found.extend(node.iter_child_nodes())
    return found


@functools.lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    class NoAttributes(SandboxedEnvironment):
        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return False

    environment = NoAttributes(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_as_content)
    environment.filters = bounded_filters(environment.filters)
    environment.tests = {name: environment.tests[name] for name in TESTS}
    environment.globals = {}
    return environment


def bounded_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return the filters that a template may use, none of which makes a text without bounds."""
    known: dict[str, Callable[..., Any]] = {**filters, "replace": _replace, "tojson": _tojson}
    return {name: _bounded(known[name]) for name in FILTERS}


def _as_content(value: Any) -> Any:
    return Content(value) if isinstance(value, str | int | float) else value


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def bounded(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if isinstance(result, str) and len(result) > MAX_RENDERED_CHARACTERS:
            raise ValueError(f"a filter made more than {MAX_RENDERED_CHARACTERS:,} characters")
        return result

    return bounded


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise ValueError("replace needs a text to look for, got an empty one")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_RENDERED_CHARACTERS:
        raise ValueError(f"replace would make more than {MAX_RENDERED_CHARACTERS:,} characters")
    return text.replace(old, new)


def _tojson(value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError(f"tojson takes an indent from 0 to 8, got {indent}")
    return json.dumps(value, ensure_ascii=False, indent=indent)
