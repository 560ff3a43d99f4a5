"""What the options are compared on: the test records, their groups and their slices; and losses by slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.data.records import Record
from tasks.metrics.grouped import Floats
from tasks.metrics.intervals import loss_p_value
from tasks.metrics.looks import holm

_NOT_GIVEN = "(none)"
_LENGTH_BINS = 3
_NOTABLE_LOSS = 0.1


@dataclass(frozen=True)
class Slice:
    """Some of the rows, by a property they share."""

    slice: str
    """The property: `label`, `length`, or a metadata column."""
    value: str
    rows: tuple[int, ...]
    """Positions in `EvaluationRows.record_ids`."""

    def groups_among(self, groups: Sequence[str]) -> int:
        """How many groups the rows belong to, given the group of every row of the evaluation."""
        return len({groups[row] for row in self.rows})


@dataclass(frozen=True)
class EvaluationRows:
    """The frozen records of one evaluation, in order."""

    record_ids: tuple[str, ...]
    groups: tuple[str, ...]
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class SliceComparison:
    """How a candidate does against a reference in one slice."""

    slice: str
    value: str
    n: int
    groups: int
    """Groups that its records belong to: with few of them even a large loss is not sure."""
    difference: float
    """Candidate minus reference."""
    p_value: float | None
    """One-sided, of a loss no larger than tolerated; None where there are too few rows to tell."""
    blocks: bool
    """Whether the loss is surely larger than tolerated, after Holm over all slices."""


def evaluation_rows(
    records: Sequence[Record], *, slice_by: Sequence[str], labels: Sequence[str] | None
) -> EvaluationRows:
    """Fix the order of the records and cut them into slices.

    Args:
        records: The test records.
        slice_by: `label`, `length` (thirds by characters of the prompt), or metadata columns.
        labels: The closed label set; without one `label` is left out, since every answer would be a slice.
    """
    wanted = [name for name in slice_by if name != "label" or labels is not None]
    slices = [part for name in wanted for part in _cut(name, _value_of(name, records), records)]
    return EvaluationRows(
        record_ids=tuple(record.record_id for record in records),
        groups=tuple(record.group for record in records),
        slices=tuple(slices),
    )


def compare_slices(
    candidate: Sequence[float],
    reference: Sequence[float],
    *,
    rows: EvaluationRows,
    min_rows: int,
    max_loss: float,
    confidence: float,
) -> tuple[SliceComparison, ...]:
    """Test in each slice of at least `min_rows` whether the candidate loses more than `max_loss`.

    One-sided score tests by group; Holm over all slices tested keeps the chance of blocking any slice that loses no
    more than `max_loss` at 1 − `confidence`.
    """
    first, second = np.asarray(candidate), np.asarray(reference)
    p_values = [_p_value(part, first, second, rows, max_loss) if len(part.rows) >= min_rows else None
                for part in rows.slices]  # fmt: skip
    tested = [index for index, p_value in enumerate(p_values) if p_value is not None]
    rejected = holm([p for p in p_values if p is not None], 1 - confidence)
    blocking = {index for index, reject in zip(tested, rejected, strict=True) if reject}
    return tuple(
        SliceComparison(
            slice=part.slice,
            value=part.value,
            n=len(part.rows),
            groups=part.groups_among(rows.groups),
            difference=float((first - second)[list(part.rows)].mean()),
            p_value=p_values[index],
            blocks=index in blocking,
        )
        for index, part in enumerate(rows.slices)
    )


def worst_looking(compared: Sequence[SliceComparison]) -> SliceComparison | None:
    """The tested slice with the largest loss that is too large to pass over in silence though it is not sure."""
    unsure = [item for item in compared if item.p_value is not None and not item.blocks]
    worst = min(unsure, key=lambda item: item.difference, default=None)
    return worst if worst is not None and worst.difference <= -_NOTABLE_LOSS else None


def _p_value(part: Slice, first: Floats, second: Floats, rows: EvaluationRows, max_loss: float) -> float:
    index = list(part.rows)
    return loss_p_value(first[index], second[index], [rows.groups[row] for row in index], tolerated=max_loss)


def _value_of(name: str, records: Sequence[Record]) -> Callable[[Record], str]:
    if name == "label":
        return lambda record: record.completion
    if name == "length":
        return _length_bin(records)
    return lambda record: record.metadata.get(name) or _NOT_GIVEN


def _length_bin(records: Sequence[Record]) -> Callable[[Record], str]:
    """Thirds of the prompts by characters, named by their bounds."""
    lengths = [len(record.prompt) for record in records]
    cuts = sorted({int(cut) for cut in np.quantile(lengths, np.arange(1, _LENGTH_BINS) / _LENGTH_BINS)})
    lows = [0, *(cut + 1 for cut in cuts)]
    names = [f"{low} to {high} characters" for low, high in zip(lows, cuts, strict=False)]
    names.append(f"{lows[-1]} characters and more")
    return lambda record: names[int(np.searchsorted(cuts, len(record.prompt)))]


def _cut(name: str, value_of: Callable[[Record], str], records: Sequence[Record]) -> list[Slice]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        rows[value_of(record)].append(row)
    return [
        Slice(name, value, tuple(rows[value])) for value in sorted(rows, key=lambda value: (-len(rows[value]), value))
    ]
