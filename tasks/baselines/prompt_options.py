"""Which prompts are tried, and which of them go on to the test set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from configs.schema import Baseline, Template
from tasks.inference.options import Option, ShotStrategy

_PROMPT_VARIABLE = re.compile(r"{{-?\s*prompt\b")
CHAIN = "chain "
RECIPE_TEMPLATE = "recipe"
"""How the recipe's own wording is called beside `baseline.templates`."""


def prompt_options(baseline: Baseline, template: Template, labels: Sequence[str] | None) -> list[Option]:
    """Return every prompt that the recipe allows, those with the shortest prompts first, the chains last.

    Args:
        baseline: the recipe's section.
        template: the recipe's own wording; those of `baseline.templates` come after it.
        labels: the closed label set; without one there is no label scoring and no balanced choice of shots.
    """
    decodings = [decoding for decoding in baseline.decoding if decoding == "generate" or labels]
    examples = sorted(_examples(baseline, labels), key=lambda example: example[0])
    prompts = [
        Option(
            name=_name(shots, strategy, order, wording, decoding),
            kind="prompt",
            template=text,
            decoding=decoding,
            shots=shots,
            shot_strategy=strategy,
            shot_order=order,
        )
        for (shots, strategy, order), (wording, text), decoding in product(
            examples, wordings(baseline, template).items(), dict.fromkeys(decodings)
        )
    ]
    chains = [
        Option(
            name=f"{CHAIN}{name}{_scored(decoding)}",
            kind="prompt",
            template=chain.then,
            decoding=decoding,
            first=chain.first,
            first_max_new_tokens=chain.max_new_tokens,
        )
        for (name, chain), decoding in product(baseline.chains.items(), dict.fromkeys(decodings))
    ]
    return prompts + chains


def choose_best(options: Sequence[Option], scores: Mapping[str, float]) -> Option:
    """Return the option with the highest score on validation; among equals the one with the fewest shots.

    Args:
        options: at least one.
        scores: mean score on validation by option name.
    """
    return max(options, key=lambda option: (scores[option.name], -option.shots))


def shortlist(options: Sequence[Option], scores: Mapping[str, float]) -> list[Option]:
    """Return the best prompt of each kind (zero-shot, each way to pick examples, chains), the best one first.

    Only these are scored on the test set, once each.
    """
    kinds = dict.fromkeys(map(_kind, options))
    best = [choose_best([each for each in options if _kind(each) == kind], scores) for kind in kinds]
    return sorted(best, key=lambda option: (-scores[option.name], option.shots))


def templates_to_train_with(own: Template, prompts: Sequence[Option], scores: Mapping[str, float]) -> dict[str, Any]:
    """Return what `training.template` may name, as JSON: the recipe's wording, and that of the best prompt.

    Args:
        own: the recipe's.
        prompts: those that were scored; a chain's wordings are none to train on.
        scores: mean score on validation by option name.
    """
    single = [option for option in prompts if option.first is None]
    winner = choose_best(single, scores).template if single else None
    return {name: wording.model_dump(mode="json") for name, wording in (("recipe", own), ("winner", winner or own))}


def _kind(option: Option) -> tuple[str, bool]:
    return option.shot_strategy, option.first is not None


def registry_template(option: Option) -> str | list[dict[str, str]]:
    """Return a prompt for MLflow's prompt registry: its wording, with a variable where examples would stand.

    Text, in which a zero-shot prompt is what the model reads once the variables are filled in; or chat messages, where
    examples stand as turns between the two. The variable `prompt` is called `input`: MLflow 3.17 can't fill in one of
    that name (`PromptVersion.format` has an argument of its own called so).
    """
    template = option.template
    assert template is not None
    if template.kind == "chat":
        system = [{"role": "system", "content": template.instruction}] if template.instruction else []
        return [*system, {"role": "user", "content": "{{ input }}"}]
    instruction = template.instruction + template.separator if template.instruction else ""
    examples = "{{ examples }}" + template.separator if option.shots else ""
    return f"{instruction}{examples}{_PROMPT_VARIABLE.sub('{{ input', template.prompt)}"


def wordings(baseline: Baseline, template: Template) -> dict[str, Template]:
    """Return the templates that are tried, by name."""
    found = {RECIPE_TEMPLATE: template}
    for name, other in baseline.templates.items():
        if other not in found.values():
            found[name] = other
    return found


def _examples(baseline: Baseline, labels: Sequence[str] | None) -> Iterator[tuple[int, ShotStrategy, int]]:
    strategies = [strategy for strategy in baseline.strategies if strategy != "balanced" or labels]
    for shots in dict.fromkeys(baseline.shots):
        if shots == 0:
            yield 0, "none", 0
        else:
            orders = range(min(baseline.orders, math.factorial(shots)))
            yield from ((shots, *each) for each in product(dict.fromkeys(strategies), orders))


def _name(shots: int, strategy: ShotStrategy, order: int, wording: str, decoding: str) -> str:
    examples = "zero-shot" if shots == 0 else f"{strategy}-{shots}"
    worded = "" if wording == RECIPE_TEMPLATE else f", template {wording}"
    ordered = f", order {order + 1}" if order else ""
    return f"{examples}{ordered}{worded}{_scored(decoding)}"


def _scored(decoding: str) -> str:
    return " (label scoring)" if decoding == "label_scoring" else ""
