"""The `burnish` command: one thin sub-command per flow. Heavy imports happen inside the sub-commands."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from configs.environment import set_private_switches, set_worker_defaults, use_home
from configs.errors import BurnishError
from tasks.storage.interrupts import remember_interrupts
from tasks.tracking.shown_text import printable

if TYPE_CHECKING:
    from configs.schema import Recipe
    from configs.settings import Settings

_LONGEST_REASON = 1000
_STAGES = ("prepare", "validate", "baseline", "search", "evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit status: 0 done, 1 a check failed or a bug, 2 bad input, 130 stopped."""
    remember_interrupts()
    os.umask(0o077)  # the libraries write private data too
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "command", None) is _worker:
        set_worker_defaults(os.environ)
    overridden = set_private_switches()  # before any library is imported: Prefect reads its switches then
    if "command" not in options:
        parser.print_help()
        return 0
    options.overridden_switches = overridden
    _log_to_terminal(debug=options.debug)
    try:
        return int(options.command(options))
    except BurnishError as error:
        if options.debug:
            raise
        print(f"burnish: {printable(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:  # a bug of ours: still one line for the user, and where to find more
        if options.debug:
            raise
        reason = str(error).strip().splitlines()[:1]
        print(f"burnish: unexpected {type(error).__name__}: {''.join(reason)}; --debug shows where", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("burnish: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _finetune(options: argparse.Namespace) -> int:
    from rich.console import Console

    from configs.requests import FinetuneRequest
    from flows.check import check
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, root = _load(options)
    check(recipe, root)
    request = FinetuneRequest(recipe=str(options.recipe), overrides=tuple(options.overrides))
    _show_terms(recipe)
    with _prefect_server(settings):
        from prefect import tags

        from flows.finetune import finetune

        with tags(*run_tags(recipe.name, settings.installation)):
            summary = finetune(request, until=options.until)
    if summary is None:
        return 0
    from tasks.reporting.terminal_summary import print_summary

    print_summary(summary, Console())
    return 0


def _retrain(options: argparse.Namespace) -> int:
    from rich.console import Console

    from configs.requests import RetrainRequest
    from flows.check import check
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, root = _load(options)
    check(recipe, root)
    request = RetrainRequest(
        recipe=str(options.recipe), overrides=tuple(options.overrides), force=options.force, reason=options.reason
    )
    _show_terms(recipe)
    with _prefect_server(settings):
        from prefect import tags

        from flows.retrain import retrain

        with tags(*run_tags(recipe.name, settings.installation)):
            state = retrain(request, return_state=True)
        summary = state.result()
    if summary is not None:
        from tasks.reporting.terminal_summary import print_summary

        print_summary(summary, Console())
    else:
        print(f"{state.name}: {printable(state.message or '')}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from configs.errors import ServerError
    from configs.requests import WatchRequest
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, _ = _load(options)
    if settings.prefect_api_url is None:
        raise ServerError("watch tells a Prefect server of changes, and PREFECT_API_URL names none; start one, set it")
    with _prefect_server(settings):
        from prefect import tags

        from flows.watch import watch

        with tags(*run_tags(recipe.name, settings.installation)):
            outcome = watch(WatchRequest(recipe=str(options.recipe), overrides=tuple(options.overrides)))
    print(f"{recipe.name}: {outcome}")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from rich.console import Console

    from flows.check import check
    from flows.preview import preview

    recipe, settings, root = _load(options)
    check(recipe, root)
    preview(recipe, settings, root, count=options.count, console=Console())
    return 0


def _promote(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import promote_by_hand

    _, settings = _existing(options)
    print(promote_by_hand(settings, options.model, reason=options.reason))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import rollback_by_hand

    _, settings = _existing(options)
    print(rollback_by_hand(settings, options.name, reason=options.reason))
    return 0


def _history(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import history_lines

    _, settings = _existing(options)
    for line in history_lines(settings, options.name):
        print(printable(line))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from configs.errors import DataError
    from tasks.registry.predicting import predict

    if not all(text.strip() for text in options.text):
        raise DataError("there is nothing to answer: a text is empty; give one that says something")
    _, settings = _existing(options)
    for output in predict(settings, options.model, options.text):
        print(printable(output) if sys.stdout.isatty() else output)
    return 0


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console

    from tasks.reporting.show import latest_summary
    from tasks.reporting.terminal_summary import print_summary

    _, settings = _existing(options)
    summary = latest_summary(settings, options.name)
    if options.json:
        print(json.dumps(summary.as_json(), indent=1, ensure_ascii=False))
    else:
        print_summary(summary, Console())
    return 0


def _up(options: argparse.Namespace) -> int:
    from configs.roots import ROOTS
    from configs.servers import server_settings_from
    from tasks.servers.services import shared_environment

    root, settings = _existing(options, must_exist=False, use_servers=False)
    servers = server_settings_from()
    if not servers.is_loopback and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        print(
            f"burnish: warning: {servers.host} is reached from other machines, and nobody is asked for a password: "
            "whoever reaches it can run flows and move models (docs/guides/operate.md)",
            file=sys.stderr,
        )
    # the forms are made in this process: it must see the roots that the worker will see
    roots = os.environ.get(ROOTS) or str(root)
    os.environ.update(shared_environment(settings, servers, roots=roots, given=os.environ))
    from tasks.servers.up import bring_up

    changed = bring_up(settings, servers, environment=os.environ, tell=lambda line: print(line, flush=True))
    print("changed: " + ", ".join(changed) if changed else "already up; nothing changed")
    print(f"MLflow   {os.environ['MLFLOW_TRACKING_URI']}")
    print(f"Prefect  {os.environ['PREFECT_API_URL'].removesuffix('/api')}")
    return 0


def _down(options: argparse.Namespace) -> int:
    from tasks.servers.down import bring_down

    _, settings = _existing(options, must_exist=False, use_servers=False)
    count = bring_down(settings.home) if settings.home.exists() else 0
    print(f"stopped, {count} processes ended" if count else "nothing was running")
    return 0


def _status(options: argparse.Namespace) -> int:
    from configs.servers import server_settings_from
    from tasks.servers.status import servers_status, status_lines

    _, settings = _existing(options, must_exist=False)
    status = servers_status(settings, server_settings_from())
    for line in status_lines(status):
        print(printable(line))
    return 0 if status.healthy else 1


def _clean(options: argparse.Namespace) -> int:
    from tasks.reporting.cleaning import clean

    _, settings = _existing(options)
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


def _provision(options: argparse.Namespace) -> int:
    from tasks.tracking.provision import provision

    root, settings = _existing(options, must_exist=False)
    for line in provision(settings, os.environ):
        print(line)
    if settings.prefect_api_url is None:
        return 0
    _use_roots(root)
    from tasks.servers.provision import provision_prefect

    for line in provision_prefect(settings.prefect_api_url, job_template=options.job_template):
        print(line)
    return 0


def _worker(options: argparse.Namespace) -> int:
    import asyncio
    import socket

    from configs.errors import ServerError

    root, settings = _existing(options, must_exist=False)
    if settings.prefect_api_url is None:
        raise ServerError("a worker takes flow runs from a Prefect server, and PREFECT_API_URL names none; set it")
    os.environ["BURNISH_HOME"] = str(settings.home)  # of what it runs too, wherever the recipe lies
    os.environ["PREFECT_API_URL"] = settings.prefect_api_url
    _use_roots(root)
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


def _use_roots(root: Path) -> None:
    """Let recipes and data below the project be named through Prefect, unless BURNISH_ROOTS says which may."""
    from configs.roots import ROOTS

    if not os.environ.get(ROOTS):
        os.environ[ROOTS] = str(root)


def _doctor(options: argparse.Namespace) -> int:
    from tasks.reporting.doctor import examine

    _, settings = _existing(options, must_exist=False)
    if options.team:
        from tasks.reporting.team_doctor import examine_team

        findings = examine_team(settings, os.environ)
    else:
        findings = examine(settings, overridden_switches=options.overridden_switches)
    for finding in findings:
        print(finding.as_line())
    return 0 if all(finding.healthy for finding in findings) else 1


def _load(options: argparse.Namespace) -> tuple[Recipe, Settings, Path]:
    """Read the recipe and its settings, and send what libraries write below the recipe's home."""
    from configs.requests import RecipeRequest
    from configs.roots import resolve_recipe

    request = RecipeRequest(recipe=options.recipe, overrides=tuple(options.overrides))
    recipe, root = resolve_recipe(request, confined=False)
    return recipe, _settings(root), root


def _existing(
    options: argparse.Namespace, *, must_exist: bool = True, use_servers: bool = True
) -> tuple[Path, Settings]:
    """Settings of the installation at hand: BURNISH_HOME, or the nearest `.burnish` at or above this folder."""
    from configs.settings import check_home, nearest_project_root

    root = nearest_project_root(Path.cwd(), must_exist=must_exist)
    settings = _settings(root, use_servers=use_servers)
    if must_exist:
        check_home(settings)
    return root, settings


def _settings(root: Path, *, use_servers: bool = True) -> Settings:
    """Settings of a project, pointing at the servers that `burnish up` started for it, if any run."""
    from configs.settings import settings_from
    from tasks.tracking.running_servers import use_running_servers

    home = settings_from(project_root=root).home
    use_home(home)
    if use_servers:
        use_running_servers(home)
    return settings_from(project_root=root)


def _prefect_server(settings: Settings) -> AbstractContextManager[str]:
    """The running Prefect server, or a temporary one on the installation's database."""
    from tasks.storage.postgres_databases import prepare_databases
    from tasks.tracking.prefect_server import prefect_server

    if settings.prefect_api_url is None:
        prepare_databases(settings)
    return prefect_server(settings.home, settings.prefect_api_url, database_url=settings.prefect_database_url)


def _show_terms(recipe: Recipe) -> None:
    from tasks.models.base_models import license_notice

    notice = license_notice(recipe.base)
    if notice:
        print(notice, file=sys.stderr)


def _reason(text: str) -> str:
    if len(text) > _LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"must have at most {_LONGEST_REASON} characters, got {len(text)}")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def _log_to_terminal(*, debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("burnish")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        """Print it and end."""
        from importlib.metadata import version

        print(f"burnish {version('burnish')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="burnish", description="Does fine-tuning pay? Train it, prove it, use it.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of Burnish")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    commands = parser.add_subparsers(metavar="command")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(command=command)
        return sub

    def add_recipe(sub: argparse.ArgumentParser, *, until: str | None) -> None:
        sub.add_argument("--recipe", required=True, metavar="FILE", help="a YAML file, or a shipped one by name")
        sub.add_argument("overrides", nargs="*", metavar="key=value", help="values that differ from the file")
        sub.set_defaults(until=until)

    add_recipe(add("finetune", _finetune, "run every stage of a recipe; finished ones are reused"), until=None)
    for stage in _STAGES:
        add_recipe(add(stage, _finetune, f"run a recipe up to the stage {stage!r}"), until=stage)
    retrain = add("retrain", _retrain, "run a recipe again if its data, base model or age says so; else say why not")
    add_recipe(retrain, until=None)
    retrain.add_argument("--force", action="store_true", help="even though nothing changed; what is equal is reused")
    retrain.add_argument("--reason", type=_reason, default="", help="why you ask; kept with the run")
    watch = add("watch", _watch, "look once whether a recipe's data changed, and tell the Prefect server")
    add_recipe(watch, until=None)
    preview = add("preview", _preview, "show rendered records with the trained tokens marked")
    add_recipe(preview, until=None)
    preview.add_argument("--count", type=_positive, default=3, metavar="N", help="records to show (default 3)")
    promote = add("promote", _promote, "make a model version the champion by hand")
    promote.add_argument("model", metavar="NAME/VERSION")
    promote.add_argument("--reason", required=True, help="kept in the history")
    rollback = add("rollback", _rollback, "make the previous champion the champion again")
    rollback.add_argument("name")
    rollback.add_argument("--reason", required=True, help="kept in the history")
    add("history", _history, "show every move of a model's aliases").add_argument("name")
    predict = add("predict", _predict, "answer texts with a registered model")
    predict.add_argument("--model", required=True, metavar="NAME@ALIAS", help="or NAME/VERSION")
    predict.add_argument("text", nargs="+")
    show = add("show", _show, "show the latest run of a recipe (default: of any)")
    show.add_argument("name", nargs="?")
    show.add_argument("--json", action="store_true", help="for programs")
    add("up", _up, "start MLflow, Prefect and a worker, with all deployments; a second time it changes nothing")
    add("down", _down, "stop them; what they run is stopped too and goes on when asked again")
    add("status", _status, "show whether they run, what they do and what waits for a review")
    doctor = add("doctor", _doctor, "check this machine and installation, and say what to do")
    doctor.add_argument(
        "--team", action="store_true", help="check the team's servers instead: passwords, TLS, versions"
    )
    provision = add(
        "provision", _provision, "make what a team's servers miss: databases, bucket, MLflow user, deployments"
    )
    worker = add("worker", _worker, "run what a team's Prefect server hands out, flows of Burnish only")
    for sub in (provision, worker):
        sub.add_argument(
            "--job-template", type=Path, metavar="FILE", help="flow runs are Kubernetes Jobs of this shape"
        )
    worker.add_argument("--name", help="as the server shows it (default: this machine's)")
    worker.add_argument(
        "--limit", type=_positive, metavar="N", help="flow runs at once (default: 1; of Kubernetes Jobs, any number)"
    )
    worker.add_argument("--with-healthcheck", action="store_true", help="answer /health on port 8080, for Kubernetes")
    clean = add("clean", _clean, "remove what no version, unfinished or newest run needs, once it is old")
    clean.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    clean.add_argument("--keep-days", type=_above_zero, metavar="DAYS", help="default: BURNISH_KEEP_DAYS, else 30")
    clean.add_argument(
        "--max-gib", type=_above_zero, metavar="N", help="remove more, the oldest first, down to this size"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
