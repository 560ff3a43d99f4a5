"""Sub-commands for the servers: start, stop and look at them, and make what a team's servers miss."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands.installation import existing
from flows.commands.parsing import add_command, positive
from tasks.tracking.shown_text import printable

if TYPE_CHECKING:
    from configs.settings import Settings


def add_server_commands(commands: Any) -> None:
    """Add them to the command line."""
    text = "start MLflow, Prefect and a worker, with all deployments; a second time it changes nothing"
    add_command(commands, "up", _up, text)
    add_command(commands, "down", _down, "stop them; what they run is stopped too and goes on when asked again")
    add_command(commands, "status", _status, "show whether they run, what they do and what waits for a review")
    text = "make what a team's servers miss: databases, bucket, MLflow user, deployments"
    provision = add_command(commands, "provision", _provision, text)
    worker = add_command(
        commands, "worker", _worker, "run what a team's Prefect server hands out, flows of Burnish only"
    )
    for sub in (provision, worker):
        sub.add_argument(
            "--job-template", type=Path, metavar="FILE", help="flow runs are Kubernetes Jobs of this shape"
        )
    worker.set_defaults(is_worker=True)
    worker.add_argument("--name", help="as the server shows it (default: this machine's)")
    worker.add_argument(
        "--limit", type=positive, metavar="N", help="flow runs at once (default: 1; of Kubernetes Jobs, any number)"
    )
    worker.add_argument("--with-healthcheck", action="store_true", help="answer /health on port 8080, for Kubernetes")


def _up(options: argparse.Namespace) -> int:
    from configs.roots import ROOTS, roots_of
    from configs.servers import server_settings_from
    from tasks.servers.exposure import exposure_warnings
    from tasks.servers.services import PROJECT, planned_services, shared_environment

    _, settings = existing(must_exist=False, use_servers=False)
    servers = server_settings_from()
    services = planned_services(settings, servers, project=PROJECT)
    for warning in exposure_warnings(services, servers, os.environ):
        print(f"burnish: warning: {warning}", file=sys.stderr)
    # the forms are made in this process: it must see the roots that the worker will see
    roots = roots_of(settings.home, os.environ.get(ROOTS, ""))
    os.environ.update(shared_environment(settings, servers, roots=roots, given=os.environ))
    from tasks.servers.up import bring_up

    changed = bring_up(settings, servers, environment=os.environ, tell=lambda line: print(line, flush=True))
    print("changed: " + ", ".join(changed) if changed else "already up; nothing changed")
    print(f"MLflow   {os.environ['MLFLOW_TRACKING_URI']}")
    print(f"Prefect  {os.environ['PREFECT_API_URL'].removesuffix('/api')}")
    print(f"forms    offer the shipped recipes and those below {roots or f'{ROOTS}, which is not set'}")
    return 0


def _down(options: argparse.Namespace) -> int:
    from tasks.servers.down import bring_down
    from tasks.storage.lease import fine_tunes_at_work

    _, settings = existing(must_exist=False, use_servers=False)
    count = bring_down(settings.home) if settings.home.exists() else 0
    print(f"stopped, {count} processes ended" if count else "nothing was running")
    for holder in fine_tunes_at_work(settings.home) if count else ():
        print(
            f"a command still fine-tunes: {printable(holder)}; if it used these servers it waits some minutes for "
            "`burnish up`; Ctrl-C ends it, and the same command goes on later"
        )
    return 0


def _status(options: argparse.Namespace) -> int:
    from configs.servers import server_settings_from
    from tasks.servers.status import servers_status, status_lines

    _, settings = existing(must_exist=False)
    status = servers_status(settings, server_settings_from())
    for line in status_lines(status):
        print(printable(line))
    return 0 if status.healthy else 1


def _provision(options: argparse.Namespace) -> int:
    from tasks.tracking.provision import provision

    _, settings = existing(must_exist=False)
    for line in provision(settings, os.environ):
        print(line)
    if settings.prefect_api_url is None:
        return 0
    _use_roots(settings)
    from tasks.servers.provision import provision_prefect

    for line in provision_prefect(settings.prefect_api_url, job_template=options.job_template):
        print(line)
    return 0


def _worker(options: argparse.Namespace) -> int:
    import asyncio
    import socket

    from configs.errors import ServerError

    _, settings = existing(must_exist=False)
    if settings.prefect_api_url is None:
        raise ServerError("a worker takes flow runs from a Prefect server, and PREFECT_API_URL names none; set it")
    os.environ["BURNISH_HOME"] = str(settings.home)  # of what it runs too, wherever the recipe lies
    os.environ["PREFECT_API_URL"] = settings.prefect_api_url
    _use_roots(settings)
    from tasks.servers.team_worker import read_job_template, work

    template = None if options.job_template is None else read_job_template(options.job_template)
    asyncio.run(
        work(
            settings.prefect_api_url,
            name=options.name or socket.gethostname(),
            limit=options.limit or (1 if template is None else None),
            job_template=template,
            with_healthcheck=options.with_healthcheck,
        )
    )
    return 0


def _use_roots(settings: Settings) -> None:
    """Let recipes and data below the home's project be named through Prefect, unless BURNISH_ROOTS says which may."""
    from configs.roots import ROOTS, roots_of

    os.environ[ROOTS] = roots_of(settings.home, os.environ.get(ROOTS, ""))
