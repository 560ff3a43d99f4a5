"""Sub-commands that keep an installation fit: check it, and remove what nothing needs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands.installation import existing, prefect_server_of
from flows.commands.parsing import above_zero, add_command

if TYPE_CHECKING:
    from configs.settings import Settings


def add_upkeep_commands(commands: Any) -> None:
    """Add them to the command line."""
    doctor = add_command(commands, "doctor", _doctor, "check this machine and installation, and say what to do")
    doctor.add_argument(
        "--team", action="store_true", help="check the team's servers instead: passwords, TLS, versions"
    )
    text = "remove what no version, unfinished or newest run needs, once it is old"
    clean = add_command(commands, "clean", _clean, text)
    clean.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    clean.add_argument("--keep-days", type=above_zero, metavar="DAYS", help="default: BURNISH_KEEP_DAYS, else 30")
    clean.add_argument(
        "--max-gib", type=above_zero, metavar="N", help="remove more, the oldest first, down to this size"
    )


def _doctor(options: argparse.Namespace) -> int:
    from tasks.reporting.doctor import examine

    _, settings = existing(must_exist=False)
    if options.team:
        from tasks.reporting.team_doctor import examine_team

        findings = examine_team(settings, os.environ)
    else:
        findings = examine(settings, overridden_switches=options.overridden_switches)
    for finding in findings:
        print(finding.as_line())
    return 0 if all(finding.healthy for finding in findings) else 1


def _clean(options: argparse.Namespace) -> int:
    from tasks.reporting.cleaning import clean, what_stays

    _, settings = existing()
    keep_days = options.keep_days or settings.keep_days
    runs = _clean_prefect(settings, keep_days=keep_days, dry_run=options.dry_run)
    done = clean(
        settings, keep_days=keep_days, max_gib=options.max_gib or settings.max_home_gib, dry_run=options.dry_run
    )
    removed = "would remove" if options.dry_run else "removed"
    for each in done.removed:
        print(f"{removed} {each.as_line(settings.home)}")
    if runs:
        print(f"{removed} {runs} flow runs of Prefect that ended over {keep_days:g} days ago")
    freed, kept, over = (
        f"{size / 1024**2:.1f} MiB"
        for size in (sum(each.size_bytes for each in done.removed), done.kept_bytes, done.over_bytes)
    )
    print(f"{freed} {'would be' if options.dry_run else 'were'} freed, {kept} stay")
    for line in what_stays(done, settings.home):
        print(f"stays {line}")
    if done.over_bytes:
        print(f"{over} more than the bound stay, since versions, unfinished or newest runs need them, or see above")
    return 0


def _clean_prefect(settings: Settings, *, keep_days: float, dry_run: bool) -> int:
    """Remove old flow runs: of the home's own server all, of one that others use too only this installation's."""
    from datetime import UTC, datetime, timedelta

    from tasks.tracking.prefect_cleaning import compact, remove_flow_runs
    from tasks.tracking.running_servers import noted_servers

    database = Path(os.environ["PREFECT_HOME"]) / "prefect.db"
    if settings.prefect_api_url is None and settings.prefect_database_url is None and not database.is_file():
        return 0
    noted = noted_servers(settings.home)
    ours = settings.prefect_api_url in (None, noted and noted.prefect_api_url) and not settings.prefect_database_url
    tags = None if ours else [f"installation:{settings.installation}"]
    before = datetime.now(UTC) - timedelta(days=keep_days)
    with prefect_server_of(settings) as url:
        runs = remove_flow_runs(url, before=before, tags=tags, dry_run=dry_run)
    if runs and ours and not dry_run:
        compact(database)
    return runs
