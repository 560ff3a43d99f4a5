"""The `burnish` command; its sub-commands stand in `flows/commands/`, one thin function each."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from configs.environment import set_private_switches, set_worker_defaults
from configs.errors import BurnishError
from configs.garbage import collect_seldom
from flows.commands.models import add_model_commands
from flows.commands.recipes import add_recipe_commands
from flows.commands.servers import add_server_commands
from flows.commands.starting import add_starting_commands
from flows.commands.upkeep import add_upkeep_commands
from tasks.storage.interrupts import remember_interrupts
from tasks.tracking.shown_text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit status.

    0 done, 1 a check failed or a bug, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    remember_interrupts()
    collect_seldom()
    os.umask(0o077)  # the libraries write private data too
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "is_worker", False):
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
    except BaseException as error:
        if not _is_termination(error):
            raise
        print("burnish: ended by SIGTERM; the same command goes on from here", file=sys.stderr)
        return 128 + signal.SIGTERM


def _is_termination(error: BaseException) -> bool:
    """Whether Prefect, which takes SIGTERM while a flow runs, raised it for one."""
    exceptions = sys.modules.get("prefect.exceptions")
    return exceptions is not None and isinstance(error, exceptions.TerminationSignal)


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
    add_starting_commands(commands)
    add_recipe_commands(commands)
    add_model_commands(commands)
    add_server_commands(commands)
    add_upkeep_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
