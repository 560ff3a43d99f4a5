from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs.errors import LeaseHeld
from tasks.storage.lease import fine_tunes_at_work, recipe_lease, training_slot
from tasks.storage.locks import FileLocks


def test_one_slot_is_held_by_one_recipe_and_the_next_hears_whose_it_is(tmp_path: Path) -> None:
    with (
        training_slot(tmp_path, "tickets", slots=1),
        pytest.raises(
            LeaseHeld, match=rf"waits for process {os.getpid()} on .* \(tickets\) since .*1 recipe fine-tunes"
        ),
        training_slot(tmp_path, "letters", slots=1),
    ):
        pass

    with training_slot(tmp_path, "letters", slots=1):
        pass


def test_two_slots_are_held_by_two(tmp_path: Path) -> None:
    with (
        training_slot(tmp_path, "a", slots=2),
        training_slot(tmp_path, "b", slots=2),
        pytest.raises(LeaseHeld, match="2 recipes fine-tune at a time"),
        training_slot(tmp_path, "c", slots=2),
    ):
        pass


def test_who_fine_tunes_is_told_as_long_as_it_does(tmp_path: Path) -> None:
    assert fine_tunes_at_work(tmp_path) == []
    with training_slot(tmp_path, "tickets", slots=2), training_slot(tmp_path, "letters", slots=2):
        first, second = fine_tunes_at_work(tmp_path)
    assert "(tickets) since" in first and "(letters) since" in second
    assert fine_tunes_at_work(tmp_path) == []


def test_an_error_of_the_block_is_not_mistaken_for_a_held_slot(tmp_path: Path) -> None:
    with pytest.raises(LeaseHeld, match="its own"), training_slot(tmp_path, "a", slots=2):
        raise LeaseHeld("its own")


def test_a_recipe_has_one_worker(tmp_path: Path) -> None:
    with (
        recipe_lease(FileLocks(tmp_path), "a"),
        recipe_lease(FileLocks(tmp_path), "b"),
        pytest.raises(LeaseHeld, match=str(os.getpid())),
        recipe_lease(FileLocks(tmp_path), "a"),
    ):
        pass
