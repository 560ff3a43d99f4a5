"""Suites: YAML files of rules in `expectations/`, read, overridden by the recipe and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

import expectations
from configs.errors import RecipeError
from configs.hints import did_you_mean
from configs.schema import Name, Section
from tasks.storage.durable import digest_of
from tasks.validation.rules import Rule

SUITES_FOLDER = Path(expectations.__file__).parent
"""The suites that come with Burnish."""


class Suite(Section):
    """The rules that a snapshot must meet, by name, overrides applied."""

    name: Name
    rules: dict[Name, Rule] = Field(min_length=1)


def load_suite(name: str, overrides: Mapping[str, str], folder: Path) -> Suite:
    """Read `<folder>/<name>.yaml` and apply the recipe's `validation.overrides`.

    Args:
        name: the suite's name.
        overrides: by rule name, what the rule does instead: `stop`, `drop`, `warn` or `off`.
        folder: where suites are; `SUITES_FOLDER` for those that come with Burnish.

    Raises:
        RecipeError: no such suite, YAML that can't be read, unknown rules, keys or expectations, a rule that can't
            drop rows told to, or nothing left to check. The message lists every problem.
    """
    path = folder / f"{name}.yaml"
    document = _read(path, name, folder)
    rules = document.get("rules")
    problems = [f"{key}: unknown key; allowed: rules" for key in document if key != "rules"]
    if not isinstance(rules, dict) or not rules:
        raise RecipeError(f"{path}: `rules` must map at least one rule's name to its definition")
    problems += _unknown_rules(overrides, rules)
    kept = {rule: _overridden(definition, overrides.get(rule)) for rule, definition in rules.items()}
    kept = {rule: definition for rule, definition in kept.items() if definition is not None}
    if not kept:
        problems.append("validation.overrides turns every rule off; leave at least one, since nothing would be checked")
    suite = _parsed(name, kept, problems) if kept else None
    if problems or suite is None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise RecipeError(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''} in the suite\n{lines}")
    return suite


def suite_digest(suite: Suite) -> str:
    """Return the hash of all that the suite checks and does; the words of `why` count too."""
    return digest_of(suite.model_dump(mode="json"))


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a repeated key is an error: the second rule of a name would silently replace the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                problem = f"the key {key.value!r} stands twice; keep one"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path, name: str, folder: Path) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(sorted(suite.stem for suite in folder.glob("*.yaml"))) or "none"
        raise RecipeError(f"validation.suite names {name!r}, which is not in {folder}; allowed: {known}")
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RecipeError(f"can't read the suite {path}: {_reason(error)}") from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a suite is a mapping with the key `rules`")
    return document


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0]


def _unknown_rules(overrides: Mapping[str, str], rules: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in overrides:
        if name not in rules:
            problems.append(f"validation.overrides.{name}: the suite has no such rule; {did_you_mean(name, rules)}")
    return problems


def _overridden(definition: Any, action: str | None) -> Any:
    """Return the definition with its new action, None where it is turned off."""
    if action == "off":
        return None
    if action is None or not isinstance(definition, dict):
        return definition
    return {**definition, "on_failure": action}


def _parsed(name: str, rules: dict[str, Any], problems: list[str]) -> Suite | None:
    """Return the suite if all of it is allowed; otherwise add what is not to `problems`."""
    try:
        suite = Suite(name=name, rules=rules)
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors(include_url=False, include_context=False)]
        return None
    problems += [
        f"rules.{rule}.on_failure: {definition.expectation} is about the whole, so it can't drop rows; "
        "allowed: stop, warn (or off)"
        for rule, definition in suite.rules.items()
        if definition.on_failure == "drop" and not definition.can_drop
    ]
    return suite


def _describe(problem: Any) -> str:
    expectation_tag = 2  # pydantic puts the discriminator's value behind rules.<name>
    where = ".".join(str(part) for index, part in enumerate(problem["loc"]) if index != expectation_tag)
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if problem["type"] == "missing":
        return f"{where}: required, but not given"
    message = str(problem["msg"])
    found = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
    return f"{where}: {message[0].lower()}{message[1:]}{found}"
