"""How long a service is waited for, and when it counts as hanging: by what it does, not by a short clock. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.servers.checks import UNHEARD, ServiceState

_IDLE_SECONDS = 120.0
"""A service that works on nothing for so long, and is not ready, never will be."""
_LEAST_WORK_SECONDS = 0.5
"""Processor time that counts as work: an idle server uses a little too."""
_MOST_STARTS = 3
"""A service that dies so often while it is waited for never gets ready; supervisord itself would go on."""
_YOUNG_SECONDS = 120.0
"""A service that began more recently is still starting."""
_PROBE_SECONDS = 20.0
"""For how long a service that does not answer is asked again before it counts as hanging."""
_PAUSE_SECONDS = 2.0
_ENDED = ("fatal", "exited", "stopped", "not running")


@dataclass
class Patience:
    """What was seen of one service while it is waited for."""

    _pids: set[int] = field(default_factory=set)
    _worked_seconds: float = 0.0
    _since: float | None = None

    def gives_up(self, state: ServiceState, *, worked_seconds: float, now: float) -> str | None:
        """Return why waiting for the service is in vain, None while it may still get ready.

        Args:
            state: what was found of it just now: not healthy.
            worked_seconds: processor time that its processes have used.
            now: in seconds, by any clock.
        """
        if state.found.startswith(_ENDED):
            return "it ended"
        new = state.pid is not None and state.pid not in self._pids
        if state.pid is not None:
            self._pids.add(state.pid)
        if len(self._pids) > _MOST_STARTS:
            return f"it died {_MOST_STARTS} times"
        if self._since is None or new or worked_seconds > self._worked_seconds + _LEAST_WORK_SECONDS:
            self._since, self._worked_seconds = now, worked_seconds
        idle = now - self._since
        return f"it has done nothing for {idle:.0f} s" if idle > _IDLE_SECONDS else None


def hangs(
    look: Callable[[], ServiceState],
    *,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether a service that runs has stopped working: not one of several looks over some time finds it well.

    Args:
        look: looks at it once.
        now: seconds since 1970.
        pause: waits for some seconds.
    """
    state = look()
    began = now()
    while not state.healthy:
        young = state.started is None or now() - state.started < _YOUNG_SECONDS
        if young or state.found == UNHEARD:
            return False
        if now() - began >= _PROBE_SECONDS:
            return True
        pause(_PAUSE_SECONDS)
        state = look()
    return False
