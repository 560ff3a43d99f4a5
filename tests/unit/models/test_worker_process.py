import importlib.util
import sys
from types import ModuleType

import pytest

from configs.schema import Precision
from tasks.models.worker_process import hide_unused_libraries


@pytest.fixture(autouse=True)
def bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """One that is loaded already; afterwards everything is as it was."""
    module = ModuleType("bitsandbytes")
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)
    return module


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_library_for_four_bits_counts_as_not_installed_elsewhere(precision: Precision) -> None:
    hide_unused_libraries(precision)

    assert importlib.util.find_spec("bitsandbytes") is None


def test_a_library_for_four_bits_is_there_where_it_is_needed(bitsandbytes: ModuleType) -> None:
    hide_unused_libraries("nf4")

    assert sys.modules["bitsandbytes"] is bitsandbytes
