import subprocess
import sys

LEFT = "import gc, sys; from flows.__main__ import main; main([]); sys.stderr.write(str(gc.get_threshold()[0]))"


def test_a_command_looks_for_garbage_seldom() -> None:
    command = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)

    assert int(command.stderr) >= 50_000
