"""Figures of open generation that say what went wrong, and never decide: length, repetition, copying."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

_WORDS = 4
"""Length of the word sequences that are counted."""


def answer_figures(outputs: Sequence[str], references: Sequence[str], prompts: Sequence[str]) -> dict[str, float]:
    """Return the figures that can be told, by name.

    `length_ratio`: median over the records of the output's words over the reference's. `repeated_share`: mean share
    of an output's sequences of four words that stood in it before. `copied_share`: mean share of those that stand in
    the prompt. Outputs of fewer than four words have no such sequence and don't count; a figure without a record to
    count is left out.

    Args:
        outputs: What the option said, by record.
        references: What was wanted, in the same order.
        prompts: What it was asked, in the same order.
    """
    lengths = [
        len(output.split()) / len(reference.split())
        for output, reference in zip(outputs, references, strict=True)
        if reference.split()
    ]
    said = [(sequences, prompt) for output, prompt in zip(outputs, prompts, strict=True)
            if (sequences := _sequences(output))]  # fmt: skip
    figures = {}
    if lengths:
        figures["length_ratio"] = float(median(lengths))
    if said:
        figures["repeated_share"] = fmean(1 - len(set(sequences)) / len(sequences) for sequences, _ in said)
        figures["copied_share"] = fmean(_share_within(sequences, prompt) for sequences, prompt in said)
    return figures


def _sequences(text: str) -> list[tuple[str, ...]]:
    words = text.casefold().split()
    return list(zip(*(words[start:] for start in range(_WORDS)), strict=False))


def _share_within(sequences: Sequence[tuple[str, ...]], prompt: str) -> float:
    known = set(_sequences(prompt))
    return sum(sequence in known for sequence in sequences) / len(sequences)
