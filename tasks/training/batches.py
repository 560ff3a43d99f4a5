"""Which records stand together in a batch, and how a batch becomes rectangular arrays. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    """A rendered record in tokens."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """All of them are trained."""
    trained: tuple[tuple[int, int], ...] = ()
    """Start and end of parts of the prompt that are trained too, in order."""

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def label_count(self) -> int:
        """Trained tokens that have a token before them, from which they are predicted."""
        return len(self.label_positions)

    @property
    def label_positions(self) -> list[int]:
        """Where the trained tokens stand in prompt and completion, in order."""
        spans = (*self.trained, (len(self.prompt_ids), self.length))
        return [position for start, end in spans for position in range(max(start, 1), end)]


@dataclass(frozen=True)
class PackedBatch:
    """Examples as one rectangle, in rows one after the other, and where in it a label is predicted."""

    input_ids: NDArray[np.int64]
    """[rows, width]: the last token of an example predicts nothing and is left out."""
    position_ids: NDArray[np.int64] | None
    """[rows, width]: place of each token in its own example; None where each row holds one example."""
    rows: NDArray[np.int64]
    """[labels]: row of the position that predicts each label."""
    columns: NDArray[np.int64]
    """[labels]: column of that position."""
    targets: NDArray[np.int64]
    """[labels]: the token wanted there."""


def batches_per_epoch(record_count: int, batch_size: int) -> int:
    """Number of batches that hold all records, the last one possibly smaller."""
    return -(-record_count // batch_size)


def epoch_batches(lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Put each record into one batch by chance alone, anew for each epoch; within a batch the shortest come first.

    Records of similar length share a forward pass (`micro_batches`), never a batch: a length tells of the label, so
    that batches by length would each pull the adapter towards some labels (docs/decisions/0009-random-batches.md).

    Args:
        lengths: tokens of each record.
        batch_size: records per batch; one batch may be smaller.
        seed: of the order.
        epoch: number of the pass, from 0; a function of seed and epoch alone, so a resumed run sees the same order.
    """
    generator = np.random.default_rng([seed, epoch])
    order: list[int] = generator.permutation(len(lengths)).tolist()
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    return [sorted(batch, key=lambda index: lengths[index]) for batch in batches]


def micro_batches(batch: Sequence[Example], micro_batch_size: int | None) -> list[Sequence[Example]]:
    """Cut a batch into what one forward pass holds; None keeps it whole."""
    size = micro_batch_size or len(batch)
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def pack_batch(examples: Sequence[Example], *, pad_id: int, row_tokens: int = 0) -> PackedBatch:
    """Make the arrays of one forward pass.

    Padding stands on the right, where causal attention never looks from a real token: no mask is needed for it.
    Examples that share a row are kept apart by the model, which sees each one's positions begin at 0
    (`tasks.training.packing`).

    Args:
        examples: of the pass, in an order that the labels keep.
        pad_id: of the padding token.
        row_tokens: about the width of rows that examples share, the longest example's at least; 0: each has its own.
    """
    lengths = [example.length - 1 for example in examples]
    places, width = _shared_rows(lengths, row_tokens) if row_tokens else _own_rows(lengths)
    shape = (1 + max(row for row, _ in places), width)
    input_ids, position_ids = np.full(shape, pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for example, length, (row, start) in zip(examples, lengths, places, strict=True):
        tokens = [*example.prompt_ids, *example.completion_ids]
        input_ids[row, start : start + length] = tokens[:-1]
        position_ids[row, start : start + length] = range(length)
        labels = example.label_positions
        rows += [row] * len(labels)
        columns += [start + position - 1 for position in labels]
        targets += [tokens[position] for position in labels]
    labelled = (np.asarray(values, dtype=np.int64) for values in (rows, columns, targets))
    return PackedBatch(input_ids, position_ids if shape[0] < len(examples) else None, *labelled)


def _own_rows(lengths: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Return row and first column of each example, and the width of all rows."""
    return [(row, 0) for row in range(len(lengths))], max(lengths)


def _shared_rows(lengths: Sequence[int], row_tokens: int) -> tuple[list[tuple[int, int]], int]:
    """The same with as few rows as hold all tokens: the longest first, each into the row with the most room left.

    Greedy balancing (Graham 1969, "Bounds on multiprocessing timing anomalies"); rows of their own where these hold
    less padding.
    """
    filled = [0] * -(-sum(lengths) // max(row_tokens, *lengths))
    places = [(0, 0)] * len(lengths)
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        row = filled.index(min(filled))
        places[index] = (row, filled[row])
        filled[row] += lengths[index]
    fits = len(filled) * max(filled) <= len(lengths) * max(lengths)
    return (places, max(filled)) if fits else _own_rows(lengths)
