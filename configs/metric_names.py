"""What a recipe may call a metric."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

from configs.hints import did_you_mean

BuiltInMetric = Literal[
    "exact_match",
    "normalised_match",
    "token_f1",
    "rouge_l",
    "chrf",
    "bleu",
    "json_valid",
    "json_fields",
    "tool_call_match",
]
"""The metrics that Burnish brings: each scores one answer between 0 and 1, higher is better."""

USER_METRIC = "entry_point:"
"""How the name of an installed metric begins in a recipe; its entry point's name follows."""


def _known_metric(name: str) -> str:
    built_in = get_args(BuiltInMetric)
    if name in built_in or re.fullmatch(USER_METRIC + r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", name):
        return name
    hint = did_you_mean(name, built_in)
    raise ValueError(f"{name!r} is no metric; {hint}, or {USER_METRIC}NAME of an installed one")


Metric = Annotated[str, AfterValidator(_known_metric)]
"""A built-in metric, or `entry_point:NAME` for one of the group `burnish.metrics`."""
