import importlib.util
import sys

import pytest

from tasks.models.worker_process import hide_unused_libraries


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_library_for_four_bits_counts_as_not_installed_elsewhere(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)

    hide_unused_libraries(precision)  # type: ignore[arg-type]

    assert importlib.util.find_spec("bitsandbytes") is None


def test_a_library_for_four_bits_is_there_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)

    hide_unused_libraries("nf4")

    assert "bitsandbytes" not in sys.modules
