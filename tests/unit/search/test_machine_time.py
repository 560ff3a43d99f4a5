import pytest

from tasks.search.machine_time import Attempt, SharedTime, machine_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_is_shared_by_those_that_run_while_it_passes() -> None:
    clock = Clock()
    time = SharedTime(clock)
    clock.now = 5.0
    time.begin("a")
    clock.now = 15.0  # a alone: 10
    time.begin("b")
    clock.now = 25.0  # both: 5 each
    of_a = time.end("a")
    clock.now = 55.0  # b alone: 30
    of_b = time.end("b")

    assert of_a == Attempt(seconds=20.0, machine_seconds=15.0)
    assert of_b == Attempt(seconds=40.0, machine_seconds=35.0)


@pytest.mark.parametrize(
    ("trained", "last", "expected"),
    [
        (16.0, Attempt(20.0, 20.0), 16.0),  # alone, however many slots there are
        (16.0, Attempt(20.0, 10.0), 8.0),
        (46.0, Attempt(20.0, 20.0), 20.0 + 26.0 / 2),  # 26 of them before it was interrupted
        (10.0, Attempt(0.0, 0.0), 5.0),
    ],
)
def test_training_has_the_share_of_its_last_attempt(trained: float, last: Attempt, expected: float) -> None:
    assert machine_seconds(trained, last, slots=2) == pytest.approx(expected)
