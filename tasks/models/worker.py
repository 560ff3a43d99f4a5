"""The parent's side of a worker: a child process that loads one base model and runs jobs on it, one after another.

Messages are JSON lines over two pipes of their own, so that nothing a library prints can get between them.
`tasks.models.worker_process` is the other side and lists the messages.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

from configs.errors import BaseModelError, BurnishError
from tasks.models.messages import receive, send
from tasks.storage.child_process import child_environment, python_command
from tasks.storage.processes import spawn, stop

if TYPE_CHECKING:
    from io import RawIOBase

    from configs.schema import Precision

OnReport = Callable[[dict[str, Any]], bool]

_LOGGER = logging.getLogger(__name__)
_STOP_GRACE_SECONDS = 2.0
_OUTPUT_TAIL_BYTES = 4000


class JobFailed(BurnishError):
    """A job raised an error; the worker is ready for the next one."""

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """One line."""
        self.kind = kind
        """Name of the error's class in the worker, such as `TrainingDiverged`."""


class WorkerDied(BurnishError):
    """The worker process ended before its job did; the next job starts a new one."""

    def __init__(self, exit_code: int, last_line: str) -> None:
        self.exit_code = exit_code
        """Negative: the number of the signal that killed it."""
        self.probably_out_of_memory = exit_code == -signal.SIGKILL
        how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit status {exit_code}"
        hint = (
            "probably out of memory: lower training.batch_size, training.micro_batch_size or search.slots"
            if self.probably_out_of_memory
            else f"its last line was {last_line!r}; run with --debug to see more"
        )
        super().__init__(f"the worker process ended {how} before its job was done; {hint}")


class ModelWorker:
    """A child process with one base model. Use as a context manager: leaving it ends the process.

    The process starts when the block is entered and loads the base while the parent goes on. The kernel ends it
    when the *thread* that entered the block (or that ran the job after which it was started again) ends.
    """

    def __init__(self, base_directory: Path, *, precision: Precision, device: str, threads: int) -> None:
        self._base = {"base_directory": str(base_directory), "precision": precision, "device": device}
        self._threads = threads
        self._channel: _Channel | None = None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._channel.process.pid if self._channel else None

    def close(self) -> None:
        """End the worker process, also in the middle of a job."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def run(self, job: str, arguments: dict[str, Any], on_report: OnReport | None = None) -> dict[str, Any]:
        """Run `job`, a function `tasks.<room>.<module>:<name>`, in the worker and return what it returns.

        Args:
            job: The function; it is called with the loaded base, `arguments` and a function to report with.
            arguments: JSON-serialisable.
            on_report: Called with each report; returning False asks the job to stop early.

        Raises:
            JobFailed: the job raised an error.
            WorkerDied: the process ended.
            BaseModelError: the worker can't load the base.
        """
        channel = self._channel or self._open()
        try:
            reply = self._converse(channel, {"job": job, "arguments": arguments}, on_report)
        except BaseException:
            self.close()  # whatever happened, the other side is in the middle of something
            raise
        if reply["type"] == "result":
            return dict(reply["value"])
        _LOGGER.debug("job %s failed in the worker:\n%s", job, reply["traceback"])
        if not reply["usable"]:
            self.close()
        if reply["type"] == "unloadable":
            raise BaseModelError(reply["reason"])
        raise JobFailed(reply["reason"], reply["kind"])

    def _open(self) -> _Channel:
        self._channel = _Channel(self._threads)
        self._channel.send({**self._base, "threads": self._threads})
        return self._channel

    def _converse(self, channel: _Channel, request: dict[str, Any], on_report: OnReport | None) -> dict[str, Any]:
        channel.send(request)
        while True:
            message = channel.receive()
            if message["type"] != "report":
                return message
            go_on = on_report is None or on_report(message["values"])
            channel.send({"go_on": go_on})


class _Channel:
    """One worker process and the two pipes to it."""

    def __init__(self, threads: int) -> None:
        child_reads, parent_writes = os.pipe()
        parent_reads, child_writes = os.pipe()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
        try:
            self.process = spawn(
                python_command("tasks.models.worker_process", str(child_reads), str(child_writes)),
                environment=child_environment(threads),
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=(child_reads, child_writes),
            )
        finally:
            os.close(child_reads)
            os.close(child_writes)
        self._requests = cast("RawIOBase", os.fdopen(parent_writes, "wb", buffering=0))
        self._replies = os.fdopen(parent_reads, "rb")

    def send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the process is gone; what it said last, or its death, is received next
            send(self._requests, message)

    def receive(self) -> dict[str, Any]:
        message = receive(self._replies)
        if message is None:
            raise self._death()
        return message

    def close(self) -> None:
        self._requests.close()
        stop(self.process, grace_seconds=_STOP_GRACE_SECONDS)
        self._replies.close()
        self._output.close()

    def _death(self) -> WorkerDied:
        exit_code = self.process.wait()
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _OUTPUT_TAIL_BYTES))
        written = self._output.read().decode(errors="replace").strip()
        _LOGGER.debug("the worker process ended with %s, the end of what it wrote:\n%s", exit_code, written)
        return WorkerDied(exit_code, written.rpartition("\n")[2])
