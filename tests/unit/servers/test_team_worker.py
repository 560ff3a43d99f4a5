from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.environment import WORKER_DEFAULTS, set_private_switches, set_worker_defaults
from configs.errors import RecipeError, ServerError
from configs.servers import server_settings_from
from configs.settings import settings_from
from tasks.servers.services import PROJECT, shared_environment


def test_a_team_s_worker_has_the_environment_of_the_one_that_up_starts(tmp_path: Path) -> None:
    settings = settings_from({"BURNISH_HOME": str(tmp_path)}, project_root=tmp_path)
    given: dict[str, str] = {}
    set_private_switches(given)
    ours: dict[str, str] = {}
    set_worker_defaults(ours)
    set_private_switches(ours)

    theirs = shared_environment(settings, server_settings_from({}), roots="/data", given=given)

    assert ours.items() <= theirs.items() | {("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")}  # a worker is no server
    assert ours.items() >= WORKER_DEFAULTS.items()


def test_the_command_sets_it_before_prefect_reads_it(tmp_path: Path) -> None:
    """A worker that can't reach its server, started as the guide says, and what Prefect then believes."""
    program = (
        "import sys, flows.__main__ as command\n"
        "def told(*_, **__):\n"
        "    from prefect.settings import get_current_settings\n"
        "    s = get_current_settings()\n"
        "    print(s.client.max_retries, sorted(s.client.retry_extra_codes), s.flows.heartbeat_frequency,\n"
        "          s.logging.extra_loggers, s.worker.query_seconds)\n"
        "    sys.exit(0)\n"
        "assert 'prefect' not in sys.modules\n"
        "import asyncio\n"
        "asyncio.run = lambda coroutine: (coroutine.close(), told())\n"
        "command.main(['worker'])\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "BURNISH_"))}
    environment |= {"BURNISH_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}

    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=PROJECT, capture_output=True, text=True
    )  # fmt: skip

    assert told.stdout.split() == ["7", "[500]", "30", "['burnish']", "2.0"], told.stderr


def test_a_pool_of_another_kind_is_refused_with_what_to_do() -> None:
    from tasks.servers.prefect_deployments import require_pool_type

    with pytest.raises(ServerError, match=r"'burnish'.*must be of type 'burnish', got 'process'.*work-pool delete"):
        require_pool_type("process", api_url="http://p/api", pool="burnish", pool_type="burnish")


def test_a_job_template_that_is_no_json_is_named(tmp_path: Path) -> None:
    from tasks.servers.team_worker import read_job_template

    (tmp_path / "template.json").write_text("{")

    for name in ("template.json", "missing.json"):
        with pytest.raises(RecipeError, match=name):
            read_job_template(tmp_path / name)
