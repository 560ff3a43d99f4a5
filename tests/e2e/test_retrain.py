"""Retraining from the command line: it says why it goes or not, and trains the same thing once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.installation import Installation


@pytest.mark.slow
def test_retraining_is_skipped_until_the_data_change_and_then_done_once(copied: Callable[[], Installation]) -> None:
    installation = copied()
    before = installation.show()

    unchanged = installation.burnish("retrain", "--recipe", "configs/smoke.yaml")
    more_data = ("retrain", "--recipe", "configs/smoke.yaml", "data.source.options={count: 243}")
    changed = installation.burnish(*more_data)
    again = installation.burnish(*more_data)

    assert unchanged.returncode == 0, unchanged.stderr
    assert "Skipped: nothing changed" in unchanged.stdout
    assert changed.returncode == 0, changed.stderr
    assert "Skipped" not in changed.stdout
    assert installation.show()["snapshot"] != before["snapshot"]
    assert again.returncode == 0, again.stderr
    assert "Skipped" in again.stdout
