import pytest

from tasks.search.machine_time import SharedTime


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

    assert of_a == pytest.approx((10 + 5) / 20)
    assert of_b == pytest.approx((5 + 30) / 40)
    assert 20 * of_a + 40 * of_b == pytest.approx(50.0)


def test_what_takes_no_time_has_all_of_it() -> None:
    time = SharedTime(Clock())
    time.begin("a")

    assert time.end("a") == 1.0
