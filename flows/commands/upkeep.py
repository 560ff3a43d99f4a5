"""Sub-commands that keep an installation fit: check it, and remove what nothing needs."""

from __future__ import annotations

import argparse
import os
from typing import Any

from flows.commands.installation import existing
from flows.commands.parsing import above_zero, add_command


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

    _, settings = existing(options, must_exist=False)
    if options.team:
        from tasks.reporting.team_doctor import examine_team

        findings = examine_team(settings, os.environ)
    else:
        findings = examine(settings, overridden_switches=options.overridden_switches)
    for finding in findings:
        print(finding.as_line())
    return 0 if all(finding.healthy for finding in findings) else 1


def _clean(options: argparse.Namespace) -> int:
    from tasks.reporting.cleaning import clean

    _, settings = existing(options)
    done = clean(
        settings,
        keep_days=options.keep_days or settings.keep_days,
        max_gib=options.max_gib or settings.max_home_gib,
        dry_run=options.dry_run,
    )
    for each in done.removed:
        print(f"{'would remove' if options.dry_run else 'removed'} {each.as_line(settings.home)}")
    freed, kept, over = (
        f"{size / 1024**2:.1f} MiB"
        for size in (sum(each.size_bytes for each in done.removed), done.kept_bytes, done.over_bytes)
    )
    print(f"{freed} {'would be' if options.dry_run else 'were'} freed, {kept} stay")
    if done.over_bytes:
        print(f"{over} more than the bound stay, since versions, unfinished or newest runs need them")
    return 0
