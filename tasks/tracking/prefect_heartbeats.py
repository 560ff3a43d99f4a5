"""Heartbeats of flow runs: when a run counts as dead, and how one that only went unheard is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.environment import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

SILENT_SECONDS = 2 * HEARTBEAT_SECONDS + 5
"""Two beats missed mean that the process is gone, or that the server was."""
SILENT_MESSAGE = f"no heartbeat for {SILENT_SECONDS} s: its process is gone; run it again, it goes on"


def fell_silent(state: State | None) -> bool:
    """Whether a run counts as crashed only because no heartbeat arrived, as after an outage of the server."""
    return state is not None and state.is_crashed() and state.message == SILENT_MESSAGE
