"""The order in which the fields of a search space are drawn."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from configs.schema import Choices, Range


def in_drawing_order(space: Mapping[str, Range | Choices]) -> list[str]:
    """Return the fields so that each comes after those that its `when` names; alphabetical where that leaves a choice.

    Raises:
        ValueError: fields depend on each other in a circle.
    """
    sorter = TopologicalSorter({field: values.when for field, values in space.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise ValueError(
            f"the `when` of these fields of the space depend on each other in a circle: {circle}"
        ) from None
    ordered: list[str] = []
    ready: list[str] = []
    while len(ordered) < len(space):
        for field in sorter.get_ready():
            heapq.heappush(ready, field)
        ordered.append(heapq.heappop(ready))
        sorter.done(ordered[-1])
    return ordered
