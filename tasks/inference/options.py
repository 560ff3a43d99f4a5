"""An option is a way to do the task: a classical classifier, a prompt, a candidate or the champion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.schema import Precision, Template

OptionKind = Literal["classical", "prompt", "candidate", "champion"]
Decoding = Literal["generate", "label_scoring"]
ShotStrategy = Literal["none", "random", "balanced", "nearest"]


@dataclass(frozen=True)
class Conditions:
    """Under which an option answers."""

    labels: tuple[str, ...] | None
    """The closed label set that it chooses from; None: open generation."""
    max_new_tokens: int
    """Longest answer."""
    precision: Precision
    """Of the frozen base."""


@dataclass(frozen=True)
class Option:
    """Everything needed to answer a record in one way; small and serialisable (`dataclasses.asdict`)."""

    name: str
    """As shown to people: `classical`, `zero-shot`, `nearest-8 (label scoring)`, `candidate`."""
    kind: OptionKind
    template: Template | None = None
    """None for a classical option."""
    decoding: Decoding = "generate"
    shots: int = 0
    shot_strategy: ShotStrategy = "none"
    shot_order: int = 0
    """Which of the orders of `choose_shots` the examples stand in."""
    first: Template | None = None
    """Of a chain: what is asked first, whose answer stands in `template`; None: a prompt of one step."""
    first_max_new_tokens: int = 0
    """Longest first answer of a chain."""
    adapter: str | None = None
    """Digest of the adapter directory (`home/adapters/<digest>`), for candidate and champion."""
    classical_settings: tuple[tuple[str, float | int | str], ...] = ()
    """Settings of the classical classifier that won on validation, as name and value pairs."""
    conditions: Conditions | None = None
    """Those that a registered version is served under; None: as today's data, recipe and hardware have them."""


@dataclass(frozen=True)
class Answer:
    """What an option said to one record."""

    record_id: str
    output: str
    prompt_tokens: int
    output_tokens: int
    samples: tuple[str, ...] = ()
    """Outputs drawn by chance for the same prompt; none where nobody asked for them."""


@dataclass(frozen=True)
class Answers:
    """All answers of one option on one split, and how long they took."""

    answers: tuple[Answer, ...]
    records_per_second: float
    """At the batch size used; model loading excluded."""
    latency_seconds: tuple[float, ...]
    """Per-record times at batch 1, for the first `evaluation.latency_records` records; may be empty."""
