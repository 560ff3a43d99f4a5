"""The temporary Prefect server of a command."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tasks.tracking.prefect_server import _without_heartbeats, prefect_server


def test_what_fails_while_a_server_starts_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    before = psutil.Process().children(recursive=True)

    with pytest.raises(ModuleNotFoundError), prefect_server(tmp_path, None, meanwhile="no_such_module"):
        pass

    assert psutil.Process().children(recursive=True) == before
    assert "PREFECT_API_URL" not in os.environ


def test_flows_on_a_temporary_server_have_no_heartbeat_to_wait_for() -> None:
    from prefect.settings import get_current_settings

    usual = get_current_settings().flows.heartbeat_frequency
    with _without_heartbeats():
        assert get_current_settings().flows.heartbeat_frequency is None

    assert get_current_settings().flows.heartbeat_frequency == usual
