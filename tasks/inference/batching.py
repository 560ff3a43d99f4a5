"""Which rows run together, and what they share. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], *, token_budget: int, equal_lengths: bool = False) -> list[list[int]]:
    """Put row numbers into batches, the longest rows first, so that memory runs out at once or never.

    Args:
        lengths: tokens of each row, those it will grow by included.
        token_budget: most tokens in a batch, padding included; a longer row has a batch of its own.
        equal_lengths: allow no padding: only rows of one length share a batch.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches:
            longest = lengths[batches[-1][0]]
            fits = (len(batches[-1]) + 1) * longest <= token_budget
            if fits and not (equal_lengths and lengths[row] != longest):
                batches[-1].append(row)
                continue
        batches.append([row])
    return batches


def plan_parts(lengths: Sequence[int], *, padding: int, tokens: int) -> list[slice]:
    """Split the rows of a batch into runs, each padded for itself.

    Args:
        lengths: tokens of each row, in an order that keeps similar lengths together.
        padding: most tokens of padding in a part.
        tokens: most tokens in a part, padding included; a longer row is a part of its own.
    """
    parts: list[slice] = []
    start = 0
    for end in range(1, len(lengths) + 1):
        part = lengths[start : end + 1]
        size = max(part) * len(part)
        if end == len(lengths) or size > tokens or size - sum(part) > padding:
            parts.append(slice(start, end))
            start = end
    return parts


def common_prefix_length(sequences: Sequence[Sequence[int]]) -> int:
    """Number of leading tokens that all sequences share, leaving each at least one token of its own."""
    if not sequences:
        return 0
    # what the smallest and the largest share in dictionary order, all between them share too
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    longest = min(len(sequence) for sequence in sequences) - 1
    for position in range(longest):
        if first[position] != last[position]:
            return position
    return max(longest, 0)
