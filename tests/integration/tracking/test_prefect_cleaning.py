"""Old flow runs on a real Prefect server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tasks.tracking.prefect_cleaning import remove_flow_runs
from tasks.tracking.prefect_server import prefect_server


def test_what_ended_before_goes_with_its_logs_and_artifacts_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with prefect_server(tmp_path, None) as url:
        from prefect import flow
        from prefect.client.orchestration import SyncPrefectClient
        from prefect.client.schemas.actions import ArtifactCreate, LogCreate
        from prefect.client.schemas.filters import LogFilter
        from prefect.states import Completed, Running

        now = datetime.now(UTC)

        @flow
        def notice() -> None: ...

        with SyncPrefectClient(api=url) as client:

            def left() -> set[UUID]:
                return {run.id for run in client.read_flow_runs()}

            def logs() -> list[UUID | None]:
                return [log.flow_run_id for log in client.read_logs(LogFilter())]

            old, tagged, running = (
                client.create_flow_run(notice, state=state, tags=tags).id
                for state, tags in ((Completed(), []), (Completed(), ["installation:ours"]), (Running(), []))
            )
            for each in (old, running):
                client.create_logs([LogCreate(name="x", level=20, message="said", timestamp=now, flow_run_id=each)])
                client.create_artifact(ArtifactCreate(key="note", data="text", flow_run_id=each))

            later = now + timedelta(minutes=5)
            assert remove_flow_runs(url, before=now - timedelta(days=1)) == 0
            assert remove_flow_runs(url, before=later, dry_run=True) == 2
            assert remove_flow_runs(url, before=later, tags=["installation:ours"]) == 1
            assert left() == {old, running}
            assert tagged not in left()
            assert remove_flow_runs(url, before=later) == 1
            assert left() == {running}
            assert logs() == [running]
            assert [artifact.flow_run_id for artifact in client.read_artifacts()] == [running]
