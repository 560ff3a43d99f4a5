import gc

import pytest

from configs.environment import libraries_loading


def test_garbage_is_collected_as_usual_after_libraries_are_loaded_but_they_are_not_looked_at_again() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        with pytest.raises(ValueError, match="not a library"), libraries_loading():
            assert gc.get_threshold()[0] > usual[0]
            raise ValueError("not a library")

        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
