"""How the machine's time is shared out among the fine-tunes that run at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Attempt:
    """One run of a fine-tune, from its beginning to its end or interruption."""

    seconds: float = 0.0
    """That passed."""
    machine_seconds: float = 0.0
    """An nth of the time in which n fine-tunes ran at once."""


class SharedTime:
    """Keeps account of the attempts that run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._noted = clock, clock()
        self._open: dict[str, Attempt] = {}

    def begin(self, name: str) -> None:
        """Open the account of a fine-tune that starts."""
        self._share_out()
        self._open[name] = Attempt()

    def end(self, name: str) -> Attempt:
        """Close the account of one that is over, and return it."""
        self._share_out()
        return self._open.pop(name)

    def _share_out(self) -> None:
        before, self._noted = self._noted, self._clock()
        passed = self._noted - before
        for each in self._open.values():
            each.seconds += passed
            each.machine_seconds += passed / len(self._open)


def machine_seconds(trained: float, last: Attempt, *, slots: int) -> float:
    """Return what a fine-tune took of the machine's time.

    Args:
        trained: seconds of training, in all attempts.
        last: the attempt that came to its end; it also loaded the model, and only its training counts.
        slots: how many fine-tunes the study runs at once: earlier attempts, of which nobody knows what ran beside
            them, are taken to have shared the machine with as many.
    """
    lately = min(trained, last.seconds)
    share = last.machine_seconds / last.seconds if last.seconds > 0 else 1.0
    return lately * share + (trained - lately) / slots
