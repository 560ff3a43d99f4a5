"""How the machine's time is shared out among the fine-tunes that run at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Open:
    began: float
    had: float = 0.0


class SharedTime:
    """Gives each of n fine-tunes that run at once an nth of the time that passes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._noted = clock, clock()
        self._open: dict[str, _Open] = {}

    def begin(self, name: str) -> None:
        """A fine-tune starts."""
        self._share_out()
        self._open[name] = _Open(began=self._noted)

    def end(self, name: str) -> float:
        """A fine-tune is over: return which share it had of the time since it began, above 0 and at most 1."""
        self._share_out()
        ended = self._open.pop(name)
        passed = self._noted - ended.began
        return ended.had / passed if passed > 0 else 1.0

    def _share_out(self) -> None:
        before, self._noted = self._noted, self._clock()
        for each in self._open.values():
            each.had += (self._noted - before) / len(self._open)
