"""The command line as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
RUN_TIMEOUT_SECONDS = 900
_TEXT_COLUMNS = """
SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table' AND (columns.type LIKE '%CHAR%' OR columns.type LIKE '%TEXT%')
"""


@dataclass(frozen=True)
class Installation:
    """One BURNISH_HOME and the commands run on it."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    project: Path = PROJECT
    """Where the code that runs lies."""

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        # the shell tells the command's process id to the kill points in its workers, then becomes the command
        shell = 'BURNISH_KILL_PID=$$ exec "$0" -m flows "$@"'
        return subprocess.Popen(
            ["/bin/sh", "-c", shell, sys.executable, *arguments],
            env={**clean_environment(), **self.environment, "BURNISH_HOME": str(self.home), **environment},
            cwd=self.project,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def burnish(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environment) as command:
            try:
                output, errors = command.communicate(timeout=RUN_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                command.kill()
                raise
        return subprocess.CompletedProcess(arguments, command.returncode, output, errors)

    def start_smoke(self, **environment: str) -> subprocess.Popen[str]:
        return self.start("finetune", "--recipe", "configs/smoke.yaml", **environment)

    def smoke(self, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.burnish("finetune", "--recipe", "configs/smoke.yaml", *overrides, **environment)

    def show(self) -> dict[str, Any]:
        answer = self.burnish("show", "smoke", "--json")
        assert answer.returncode == 0, answer.stderr
        summary: dict[str, Any] = json.loads(answer.stdout)
        return summary

    def summary(self) -> dict[str, Any]:
        """What `show` gives where no server runs, without the two seconds of a command's imports."""
        from configs.settings import settings_from
        from tasks.reporting.show import latest_summary

        environment = {**self.environment, "BURNISH_HOME": str(self.home)}
        found = latest_summary(settings_from(environment, project_root=self.project), "smoke")
        summary: dict[str, Any] = json.loads(json.dumps(found.as_json()))
        return summary

    def copy_to(self, home: Path) -> Installation:
        """Copy the home; MLflow, which keeps whole paths, is told where its files lie now."""
        shutil.copytree(self.home, home)
        with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as database:
            for table, column in database.execute(_TEXT_COLUMNS).fetchall():
                moved = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
                database.execute(moved, [f"{self.home}/", f"{home}/", f"{self.home}/"])
        return Installation(home, self.environment)

    def with_all_of(self, first_things: Path) -> Installation:
        """This installation, with what the fixture `first_things` made."""
        shutil.copytree(first_things, self.home, dirs_exist_ok=True)
        return self


@contextmanager
def one_prefect_server(home: Path) -> Iterator[str]:
    """One Prefect server for many commands, 1.5 s a run instead of 10; gives its API URL.

    Its database lies below `home`: that of the user's own Prefect is shared by all that run on the machine.
    """
    from configs.environment import set_private_switches
    from tasks.tracking.prefect_server import prefect_server

    set_private_switches()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_HOME", str(home / "prefect"))
        with prefect_server(home, None) as url:
            yield url


def clean_environment() -> dict[str, str]:
    """The environment without what libraries put there while other tests ran in this process."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "BURNISH_", "PREFECT_"))}
