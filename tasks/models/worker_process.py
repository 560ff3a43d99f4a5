"""The worker process: `python -m tasks.models.worker_process REQUESTS REPLIES` (two file descriptor numbers).

Requests (one JSON object a line): first the base to load {base_directory, precision, device, threads}, then jobs
{job, arguments}; after each report {go_on}. Replies: {type: report, values}, and one per job of {type: result, value},
{type: failed, reason, kind, traceback, usable} or, once, {type: unloadable, ...}.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.models.hardware import unused_libraries
from tasks.models.messages import receive, send

if TYPE_CHECKING:
    from configs.schema import Precision
    from tasks.models.loading import LoadedBase

Report = Callable[[dict[str, Any]], bool]
Job = Callable[["LoadedBase", dict[str, Any], Report], dict[str, Any]]

_JOB_PACKAGE = "tasks."
_LONGEST_REASON = 2000


def main(requests_descriptor: int, replies_descriptor: int) -> None:
    """Load the base, then run jobs until the parent closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    for descriptor in (requests_descriptor, replies_descriptor):
        os.set_inheritable(descriptor, False)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests_descriptor, requests), daemon=True).start()
    replies = os.fdopen(replies_descriptor, "wb", buffering=0)
    try:
        loaded = _load(requests.get())
    except Exception as error:
        send(replies, {**_failure(error), "type": "unloadable", "usable": False})
        return
    while True:
        send(replies, _run(loaded, requests.get(), requests=requests, replies=replies))


def _read_requests(descriptor: int, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Feed the queue; the end of the pipe means that the parent is gone or wants this process gone, job or not."""
    with os.fdopen(descriptor, "rb") as pipe:
        while (request := receive(pipe)) is not None:
            requests.put(request)
    os._exit(0)


def _load(base: dict[str, Any]) -> LoadedBase:
    hide_unused_libraries(base["precision"])
    import torch

    from tasks.models.loading import load_base

    torch.set_num_threads(base["threads"])
    return load_base(Path(base["base_directory"]), precision=base["precision"], device=base["device"])


def hide_unused_libraries(precision: Precision) -> None:
    """Let what this precision has no use for count as not installed."""
    for library in unused_libraries(precision):
        sys.modules[library] = None  # type: ignore[assignment]


def _run(
    loaded: LoadedBase, request: dict[str, Any], *, requests: queue.SimpleQueue[dict[str, Any]], replies: RawIOBase
) -> dict[str, Any]:
    from tasks.models.loading import carries_adapter

    def report(values: dict[str, Any]) -> bool:
        send(replies, {"type": "report", "values": values})
        return bool(requests.get()["go_on"])

    try:
        value = _find(request["job"])(loaded, request["arguments"], report)
        json.dumps(value)
    except Exception as error:
        return {**_failure(error), "usable": not carries_adapter(loaded)}
    return {"type": "result", "value": value}


def _find(name: str) -> Job:
    module, _, function = name.partition(":")
    if not module.startswith(_JOB_PACKAGE) or not function:
        raise ValueError(f"a job is named {_JOB_PACKAGE}<room>.<module>:<function>, got {name!r}")
    job: Job = getattr(importlib.import_module(module), function)
    return job


def _failure(error: Exception) -> dict[str, Any]:
    from configs.errors import BurnishError

    text = " ".join(str(error).split())[:_LONGEST_REASON]
    kind = type(error).__name__
    return {
        "type": "failed",
        "reason": text if isinstance(error, BurnishError) and text else f"{kind}: {text}",
        "kind": kind,
        "traceback": "".join(traceback.format_exception(error)),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
