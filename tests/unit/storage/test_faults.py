from __future__ import annotations

import os
import signal
import subprocess
import sys

PROGRAM = "from tasks.storage.faults import reach\nfor _ in range(3): reach('look'); print('went on', flush=True)"


def test_a_process_is_held_at_a_place_until_it_is_continued() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "BURNISH_HOLD_AT": "look:2"}, stdout=subprocess.PIPE
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert process.stdout is not None
        assert process.stdout.readline() == b"went on\n"

        os.kill(process.pid, signal.SIGCONT)

        assert process.stdout.read() == b"went on\n" * 2
