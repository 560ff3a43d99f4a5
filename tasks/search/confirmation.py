"""Which trials are trained again with fresh seeds, and which of them is then named: pure decisions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from configs.schema import Training
from tasks.search.results import Finalist, SeedSpread, TrialRequest, TrialRow
from tasks.search.space import resolve_training


def choose_finalists(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the winner and the runner-up by validation value; among equals the earlier trial stands first.

    A trial that repeats the parameters of another one is not a rival of its own.
    """
    finished = [row for row in rows if row.state == "finished" and row.repeats is None and row.value is not None]
    return sorted(finished, key=lambda row: (-(row.value or 0.0), row.number))[:2]


def confirmation_requests(
    finalists: Sequence[TrialRow], training: Training, *, seed: int, confirmation_seeds: int
) -> list[TrialRequest]:
    """Return the runs that confirm the finalists: every finalist with the same fresh seeds."""
    return [
        TrialRequest(
            name=f"confirmation/{finalist.number}-seed-{fresh}",
            number=finalist.number,
            parameters=finalist.parameters,
            training=resolve_training(training, finalist.parameters),
            seed=fresh,
        )
        for fresh in range(seed + 1, seed + 1 + confirmation_seeds)
        for finalist in finalists
    ]


def gather_finalists(
    finalists: Sequence[TrialRow], confirmations: Mapping[str, TrialRow], requests: Sequence[TrialRequest]
) -> list[Finalist]:
    """Put each finalist's own run and its confirmations together.

    Args:
        finalists: from `choose_finalists`.
        confirmations: how they ended, by name.
        requests: from `confirmation_requests`; all of them must have ended.
    """
    return [
        Finalist(
            number=row.number,
            parameters=row.parameters,
            runs=(row, *(confirmations[each.name] for each in requests if each.number == row.number)),
        )
        for row in finalists
    ]


def name_winner(finalists: Sequence[Finalist]) -> Finalist:
    """Return the finalist with the highest mean validation value over its seeds; among equals the first.

    The first run was selected for being high, so it flatters; the mean with fresh seeds flatters less. A finalist
    that failed with more seeds than the other one comes second, whatever its mean over the rest.
    """
    fewest = min(finalist.failures for finalist in finalists)
    return max((each for each in finalists if each.failures == fewest), key=lambda finalist: finalist.mean_value)


def seed_spread(finalist: Finalist) -> SeedSpread:
    """Return how far the seed alone moved the validation value of the finalist."""
    values = finalist.values
    if len(values) < 2:
        return SeedSpread(values, standard_deviation=None, range=None)
    return SeedSpread(values, standard_deviation=statistics.stdev(values), range=max(values) - min(values))
