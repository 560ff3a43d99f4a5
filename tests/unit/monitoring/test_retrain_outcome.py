"""How a retrain ends in Prefect, whose database more people read than MLflow's."""

from dataclasses import replace

import pytest

from flows.retrain import _final_state
from tasks.tracking.stage_ledger import StageRecord
from tests.unit.reporting.test_report import summary as make_summary

DONE = [StageRecord("promote", "i", {}, 1.0, 1.0, "run", False)]


@pytest.mark.parametrize(
    ("promote", "name", "message"),
    [(False, "Rejected", "refused by slices, parity"), (True, "Promoted", "cleared every gate")],
)
def test_the_final_state_names_gates_and_no_values_of_the_data(promote, name, message):
    reasons = ["slices: surely worse by more than 5 points in customer 'Jane Doe'", "parity: 3 records differ"]
    decision = {"promote": promote, "reasons": reasons, "refused_by": [] if promote else ["slices", "parity"]}
    ended = replace(make_summary(), decision=decision)

    state = _final_state(DONE, ended)

    assert (state.name, state.message) == (name, message)
