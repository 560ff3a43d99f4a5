"""Answer texts with a registered version, as any MLflow user would load it."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jinja2 import UndefinedError

from configs.errors import RegistryError
from configs.settings import Settings
from tasks.storage.shared_directories import at_hand
from tasks.tracking.recipe_run import tracker_at


def predict(settings: Settings, reference: str, texts: Sequence[str], *, columns: Mapping[str, str]) -> list[str]:
    """Return one answer for each text.

    Args:
        settings: where the registry and the base models are.
        reference: `name@alias`, `name/version`, or `name` for its champion.
        texts: prompts; for a chat model each is one user turn.
        columns: metadata of every text, for the template.

    Raises:
        RegistryError: no such version, it takes no such column or needs one that is not given, or it can't be loaded:
            base or adapter are missing or changed.
    """
    import mlflow
    import pandas as pd

    from tasks.registry.mlflow_versions import BASE, digest_tag, resolve_version

    tracker = tracker_at(settings)
    version = resolve_version(tracker, reference)
    if BASE in version.tags:
        at_hand(settings, "bases", digest_tag(version, BASE))
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        with _bases_at(settings.bases), _quiet():
            model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
        known = model.metadata.get_input_schema().input_names()
    except (OSError, ValueError, mlflow.exceptions.MlflowException) as error:
        reason = str(error).strip().splitlines()[0]
        raise RegistryError(f"version {version.version} of {version.name} can't be loaded: {reason}") from error
    asked = "messages" if "messages" in known else "prompt"
    takes = [name for name in known if name not in (asked, "tools")]
    refuse_unknown_columns(columns, takes, what=f"version {version.version} of {version.name}")
    rows = [{asked: json.dumps([{"role": "user", "content": text}]) if asked == "messages" else text, **columns}
            for text in texts]  # fmt: skip
    try:
        return [str(answer) for answer in model.predict(pd.DataFrame(rows))]
    except UndefinedError as error:
        raise RegistryError(
            f"the template of {version.name}/{version.version} needs a column that is not given: {error.message}; "
            f"give it as --column NAME=VALUE; it takes {', '.join(takes)}"
        ) from error


def refuse_unknown_columns(given: Iterable[str], takes: Sequence[str], *, what: str) -> None:
    """Refuse metadata that nobody would read.

    Raises:
        RegistryError: names the columns, and those that `what` takes.
    """
    if unknown := [name for name in given if name not in takes]:
        raise RegistryError(f"{what} takes no column {', '.join(unknown)}; it takes {', '.join(takes) or 'none'}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of type hints, signatures and a faster kernel for 4 bits: nothing that a user could act on."""
    kernels = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level = kernels.level
    kernels.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        kernels.setLevel(level)


@contextmanager
def _bases_at(bases: Path) -> Iterator[None]:
    """Let the model find its base below `bases`, before any folder that the user named."""
    given = os.environ.get("BURNISH_BASE_DIRS")
    os.environ["BURNISH_BASE_DIRS"] = os.pathsep.join(filter(None, [str(bases), given]))
    try:
        yield
    finally:
        if given is None:
            del os.environ["BURNISH_BASE_DIRS"]
        else:
            os.environ["BURNISH_BASE_DIRS"] = given
