import dataclasses

import pytest

from configs.schema import Economics, Promotion
from tasks.evaluation.verdict import decide_verdict
from tasks.promotion.gates import Contest, should_promote
from tests.unit.evaluation.factories import make_card, make_records, make_rows

RECORDS = make_records(400)
ROWS = make_rows(RECORDS)
ECONOMICS = Economics(value_per_correct_answer=1.0)
GATES = [
    "gain over cheaper options",
    "gain over the champion",
    "score",
    "pays",
    "slices",
    "latency",
    "cost",
    "parity",
    "veto",
]


def card(right, name="candidate"):
    kind = name if name in ("candidate", "champion") else "prompt"
    return make_card(RECORDS, wrong=range(right, 400), name=name, kind=kind, economics=ECONOMICS)


CANDIDATE, CHEAPER = card(300), card(240, "zero-shot")


def decide(candidate=CANDIDATE, cheaper=(CHEAPER,), champion=None, *, policy=None, **facts):
    policy = policy or Promotion()
    look = facts.pop("look", 1)
    verdict = decide_verdict(
        candidate, cheaper, rows=ROWS, promotion=policy, economics=ECONOMICS, confidence=0.95, look=look
    )
    contest = Contest(candidate, cheaper, champion, "3" if champion else None, rows=ROWS, look=look)
    defaults = {"parity_passed": True, "parity_reason": "logits agree", "veto": ""}
    return should_promote(contest, verdict, policy=policy, currency="EUR", **{**defaults, **facts})


def refused_by(decision):
    return [gate.name for gate in decision.gates if not gate.passed]


def test_a_candidate_that_clears_every_gate_gets_the_alias():
    decision = decide()

    assert (decision.promote, decision.alias, decision.champion_version) == (True, "champion", None)
    assert [gate.name for gate in decision.gates] == GATES
    assert len(decision.reasons) == len(GATES)


def test_a_gate_that_had_nothing_to_hold_the_candidate_against_says_so():
    limits = Promotion(min_score=0.5, max_latency_p95_seconds=9.0, max_cost_per_1000_requests=9.0)

    def unchecked(decision):
        return {gate.name for gate in decision.gates if not gate.checked}

    assert unchecked(decide()) == {"gain over the champion", "score", "latency", "cost"}
    assert unchecked(decide(champion=card(240, "champion"), policy=limits)) == set()


def test_the_alias_is_the_policys():
    assert decide(policy=Promotion(alias="challenger")).alias == "challenger"


@pytest.mark.parametrize(
    ("facts", "gates"),
    [
        ({"parity_passed": False, "parity_reason": "3 records differ"}, ["parity"]),
        ({"veto": "a person took champion from version 2"}, ["veto"]),
        ({"policy": Promotion(max_latency_p95_seconds=0.2)}, ["latency"]),
        ({"policy": Promotion(max_latency_p95_seconds=0.23)}, []),
        ({"policy": Promotion(max_cost_per_1000_requests=0.7)}, ["cost"]),
        ({"policy": Promotion(max_cost_per_1000_requests=0.8)}, []),
        ({"policy": Promotion(min_score=0.95)}, ["score"]),
        ({"policy": Promotion(min_score=0.5)}, []),
        ({"policy": Promotion(min_gain=0.2)}, ["gain over cheaper options", "pays"]),
        ({"champion": card(299, "champion")}, ["gain over the champion"]),
        ({"champion": card(270, "champion")}, []),
        ({"cheaper": (CHEAPER, card(299, "classical"))}, ["gain over cheaper options", "pays"]),
        ({"cheaper": ()}, ["pays"]),
        (
            {"parity_passed": False, "policy": Promotion(min_gain=0.2)},
            ["gain over cheaper options", "pays", "parity"],
        ),
    ],
)
def test_each_gate_refuses_for_its_own_reason(facts, gates):
    decision = decide(**facts)

    assert refused_by(decision) == gates
    assert decision.promote == (not gates)
    if gates:
        assert decision.alias is None
        assert [reason.split(":")[0] for reason in decision.reasons] == gates


def test_latency_that_was_not_measured_does_not_clear_a_limit():
    blind = dataclasses.replace(CANDIDATE, latency_p95_seconds=None)

    assert refused_by(decide(blind, policy=Promotion(max_latency_p95_seconds=9))) == ["latency"]
    assert refused_by(decide(blind)) == []


def test_a_later_look_needs_a_clearer_gain():
    cheaper = (card(290, "zero-shot"),)
    looks = [decide(cheaper=cheaper, look=look) for look in (1, 20)]

    assert [refused_by(decision) for decision in looks] == [[], ["gain over cheaper options", "pays"]]
    assert [decision.alpha_spent for decision in looks] == pytest.approx([0.025, 0.05 / 420])


def test_the_decision_names_the_champion_it_beat():
    assert decide(champion=card(240, "champion")).champion_version == "3"


def test_a_slice_that_surely_loses_blocks_in_spite_of_the_gain():
    candidate = make_card(RECORDS, wrong=range(60), name="candidate", economics=ECONOMICS)
    champion = make_card(RECORDS, wrong=range(150, 350), name="champion", kind="champion", economics=ECONOMICS)
    cheaper = make_card(RECORDS, wrong=range(300), name="zero-shot", kind="prompt", economics=ECONOMICS)

    decision = decide(candidate, cheaper=(cheaper,), champion=champion)

    assert refused_by(decision) == ["slices"]
    assert "site 'north' (-60.0 points on 100 records)" in decision.reasons[0]


def test_how_sure_a_slices_loss_must_be_is_the_policys():
    candidate = make_card(RECORDS, wrong=range(12), name="candidate", economics=ECONOMICS)
    cheaper = make_card(RECORDS, wrong=range(100, 200), name="zero-shot", kind="prompt", economics=ECONOMICS)

    refused = [
        refused_by(decide(candidate, (cheaper,), policy=Promotion(slice_confidence=level))) for level in (0.9, 0.9999)
    ]

    assert refused == [["slices"], []]


def test_without_a_champion_slices_are_held_against_the_best_cheaper_option():
    candidate = make_card(RECORDS, wrong=range(60), name="candidate", economics=ECONOMICS)
    strong = make_card(RECORDS, wrong=range(150, 350), name="classical", kind="classical", economics=ECONOMICS)

    decision = decide(candidate, cheaper=(strong, card(60, "zero-shot")))

    assert refused_by(decision) == ["slices"]


def test_small_slices_are_said_to_be_too_few_to_tell():
    decision = decide(policy=Promotion(min_slice_rows=150))

    slices = next(gate for gate in decision.gates if gate.name == "slices")
    assert slices.passed
    assert slices.reason.endswith("1 slices have fewer than 150 records: too few to tell")


def test_a_large_loss_that_is_not_sure_is_told():
    records = make_records(400, group_size=100)  # north is one group
    rows = make_rows(records)
    candidate = make_card(records, wrong=range(60))
    other = make_card(records, wrong=range(300, 400), name="zero-shot", kind="prompt")
    verdict = decide_verdict(
        candidate, [other], rows=rows, promotion=Promotion(), economics=ECONOMICS, confidence=0.95, look=1
    )
    contest = Contest(candidate, [other], champion=None, champion_version=None, rows=rows, look=1)
    decision = should_promote(
        contest, verdict, policy=Promotion(), parity_passed=True, parity_reason="", veto="", currency="EUR"
    )

    assert decision.looks_worse == (
        "site 'north', 60.0 points below zero-shot; too few groups to be sure: 100 records of 1 group"
    )


def test_the_verdict_is_not_repeated_by_its_gate():
    decision = decide(candidate=card(240))

    (pays,) = [gate for gate in decision.gates if gate.name == "pays"]
    assert not pays.passed
    assert pays.reason.startswith("the verdict is that")
