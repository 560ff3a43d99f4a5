from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.servers.checks import UNHEARD, ServiceState
from tasks.servers.patience import Patience, hangs
from tasks.servers.services import Service

SERVICE = Service("mlflow", ("true",))
NOW = 1_800_000_000.0


def silent(*, pid: int = 7, age: float = 1000.0, found: str = "does not answer") -> ServiceState:
    return ServiceState(SERVICE, False, found, pid, NOW - age)


def well() -> ServiceState:
    return ServiceState(SERVICE, True, "running", 7, NOW - 1000)


class Clock:
    """Seconds that pass only where something waits."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def verdict(states: Iterator[ServiceState]) -> tuple[bool, float]:
    """Whether the service hangs, and after how long that was said."""
    clock = Clock()
    return hangs(lambda: next(states), now=clock, pause=clock.pause), clock.now - NOW


def forever(state: ServiceState) -> Iterator[ServiceState]:
    while True:
        yield state


def test_a_well_service_is_asked_once() -> None:
    assert verdict(iter([well()])) == (False, 0)


@pytest.mark.parametrize("misses", [1, 2, 5, 9])
def test_a_service_that_answers_late_in_a_training_does_not_hang(misses: int) -> None:
    assert verdict(iter([*[silent()] * misses, well()]))[0] is False


def test_a_service_that_stays_silent_hangs_after_some_time_and_not_at_once() -> None:
    found, seconds = verdict(forever(silent()))

    assert found
    assert 10 <= seconds <= 20


def test_one_that_began_recently_is_still_starting() -> None:
    assert verdict(forever(silent(age=60))) == (False, 0)


def test_a_worker_of_which_nothing_is_known_is_left_alone() -> None:
    assert verdict(forever(silent(found=UNHEARD))) == (False, 0)


def given_up(patience: Patience, state: ServiceState, *, worked: float, now: float) -> str:
    return patience.gives_up(state, worked_seconds=worked, now=now) or ""


def test_a_service_that_works_is_waited_for_however_slow_the_machine_is() -> None:
    patience = Patience()

    assert not any(given_up(patience, silent(), worked=seconds / 50, now=seconds) for seconds in range(0, 3600, 20))


def test_a_service_that_does_nothing_is_not_waited_for_forever() -> None:
    patience = Patience()

    told = [given_up(patience, silent(), worked=8.0, now=seconds) for seconds in (0, 60, 119, 121)]

    assert told == ["", "", "", "it has done nothing for 121 s"]


@pytest.mark.parametrize("found", ["fatal: killed", "exited", "stopped"])
def test_an_ended_service_is_not_waited_for(found: str) -> None:
    assert given_up(Patience(), silent(found=found), worked=0, now=0) == "it ended"


def test_a_service_that_dies_again_and_again_is_not_waited_for() -> None:
    patience = Patience()

    told = [given_up(patience, silent(pid=pid), worked=pid, now=pid) for pid in (1, 1, 2, 3, 4)]

    assert told == ["", "", "", "", "it died 3 times"]
