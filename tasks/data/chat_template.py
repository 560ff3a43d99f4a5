"""A chat template of the recipe, in the sandbox of its other templates, to which loops over what it is given are added.

White space, missing values and `tojson` are as transformers has them, so that the registered model, which renders the
same template there, makes the same text.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import RecipeError
from tasks.data.sandbox import MAX_RENDERED_CHARACTERS, MAX_TEMPLATE_CHARACTERS, NODES, TESTS, bounded_filters, walk

if TYPE_CHECKING:
    from jinja2 import Template as CompiledTemplate
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
_LOOP_FACTS = frozenset({"first", "last", "index", "index0", "length"})
_CHAT_NODES = frozenset({*NODES, "For", "Getattr", "Concat", "Add"})
_ALLOWED = (
    f"{', '.join(sorted(VARIABLES))}, for (an inner loop over a part of the outer item), if, +, ~, comparisons, "
    "loop.first, loop.last, loop.index and the filters of template.prompt"
)


def check_chat_template(source: str, *, where: str) -> None:
    """Check a chat template before any record is rendered.

    Raises:
        RecipeError: a syntax error, something outside the sandbox, or an unknown variable.
    """
    from jinja2 import meta

    _compiled(source, where)
    unknown = sorted(meta.find_undeclared_variables(_environment().parse(source)) - VARIABLES)
    if unknown:
        raise RecipeError(f"{where} uses {', '.join(map(repr, unknown))}, which is not there; allowed: {_ALLOWED}")


def render_chat_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Any] | None,
    add_generation_prompt: bool,
    special_tokens: Mapping[str, str | None],
    where: str = "template.chat_template",
) -> str:
    """Render a conversation.

    Args:
        source: the template.
        messages: `role`, `content` and what belongs to tools.
        tools: schemas of the tools that may be called.
        add_generation_prompt: begin the assistant's turn at the end.
        special_tokens: `bos_token` and `eos_token`.
        where: dotted key for messages.

    Raises:
        RecipeError: the template is not allowed, can't be rendered, or its output is too long.
    """
    from jinja2 import TemplateError

    values = {
        **{name: text or "" for name, text in special_tokens.items()},
        "messages": list(messages),
        "tools": tools,
        "add_generation_prompt": add_generation_prompt,
    }
    parts: list[str] = []
    size = 0
    try:
        for part in _compiled(source, where).generate(values):
            size += len(part)
            if size > MAX_RENDERED_CHARACTERS:
                raise RecipeError(f"{where} makes more than {MAX_RENDERED_CHARACTERS:,} characters; shorten it")
            parts.append(part)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(f"{where} can't be rendered: {error}; allowed: {_ALLOWED}") from error
    return "".join(parts)


@functools.lru_cache(maxsize=64)
def _compiled(source: str, where: str) -> CompiledTemplate:
    from jinja2 import TemplateError

    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise RecipeError(
            f"{where} must have at most {MAX_TEMPLATE_CHARACTERS:,} characters, got {len(source):,}; shorten it"
        )
    environment = _environment()
    try:
        tree = environment.parse(source)
        for node in walk(tree):
            if not _is_allowed(node):
                name = type(node).__name__.lower()
                raise RecipeError(f"{where} uses {name} in line {node.lineno}; allowed: {_ALLOWED}")
        _check_loops(tree, where)
        return environment.from_string(source)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        place = f" in line {line}" if line else ""
        raise RecipeError(f"{where} is not a valid template{place}: {error}; allowed: {_ALLOWED}") from error
    except (RecursionError, SyntaxError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(f"{where} is not a valid template: {error}; allowed: {_ALLOWED}") from error


def _is_allowed(node: nodes.Node) -> bool:
    from jinja2 import nodes

    if isinstance(node, nodes.Name) and node.name == "self":
        return False
    if isinstance(node, nodes.For):
        return not node.recursive
    return type(node).__name__ in _CHAT_NODES


def _check_loops(tree: nodes.Node, where: str) -> None:
    """Refuse a loop in a loop that isn't over a part of the outer one's item: the work would no longer be linear."""
    from jinja2 import nodes

    waiting: list[tuple[nodes.Node, str | None]] = [(tree, None)]
    while waiting:
        node, item = waiting.pop()
        if isinstance(node, nodes.For):
            root: nodes.Node = node.iter
            if isinstance(root, nodes.Or) and isinstance(root.right, nodes.List) and not root.right.items:
                root = root.left  # `tools or []`
            while isinstance(root, nodes.Getattr | nodes.Getitem):
                root = root.node
            target = node.target
            if not (isinstance(root, nodes.Name) and isinstance(target, nodes.Name) and item in (None, root.name)):
                raise RecipeError(f"{where} has a loop in line {node.lineno} that may not stand there; {_ALLOWED}")
            item = target.name
        waiting += [(child, item) for child in node.iter_child_nodes()]


@functools.lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.runtime import LoopContext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class ValuesOnly(ImmutableSandboxedEnvironment):
        """Attributes of Python objects are out of reach: `message.role` is the key of a message."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return isinstance(obj, LoopContext) and attr in _LOOP_FACTS

    environment = ValuesOnly(trim_blocks=True, lstrip_blocks=True)
    environment.filters = bounded_filters(environment.filters)
    environment.tests = {name: environment.tests[name] for name in (*TESTS, "string", "mapping", "iterable")}
    environment.globals = {}
    return environment
