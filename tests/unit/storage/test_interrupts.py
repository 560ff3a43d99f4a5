import subprocess
import sys

SWALLOWED = """
import os, signal
from tasks.storage.interrupts import raise_if_interrupted, remember_interrupts
remember_interrupts()
raise_if_interrupted()
print("not yet")
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
raise_if_interrupted()
"""


def test_a_swallowed_interrupt_is_raised_again() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, check=False)

    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.stdout == "not yet\n"
