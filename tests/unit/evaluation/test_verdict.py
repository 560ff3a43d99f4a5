import pytest

from configs.schema import Economics, Promotion
from tasks.evaluation.verdict import decide_verdict
from tests.unit.evaluation.factories import make_card, make_records, make_rows

RECORDS = make_records(400)
CHEAP = Economics(value_per_correct_answer=1.0)


def verdict_of(candidate, *cheaper, economics=CHEAP, look=1, confidence=0.95, **policy):
    return decide_verdict(
        candidate, cheaper,
        rows=make_rows(RECORDS), promotion=Promotion(**policy), economics=economics, confidence=confidence, look=look,
    )  # fmt: skip


def card(right, name="candidate", **facts):
    """The first `right` records are answered rightly."""
    return make_card(RECORDS, wrong=range(right, 400), name=name, kind="candidate" if name == "candidate" else "prompt",
                     **facts)  # fmt: skip


def test_a_sure_gain_that_is_worth_its_cost_pays():
    verdict = verdict_of(card(300), card(240, "zero-shot"))

    assert (verdict.kind, verdict.best_cheaper, verdict.recommended) == ("pays", "zero-shot", "candidate")
    assert verdict.sentence.startswith(
        "Fine-tuning pays: candidate scores 75.0% and zero-shot, the best cheaper option"
    )
    assert f"(95% interval {100 * verdict.gain.low:.1f} to {100 * verdict.gain.high:.1f})" in verdict.sentence


def test_the_gain_must_clear_the_margin():
    assert verdict_of(card(300), card(240, "zero-shot"), min_gain=0.11).kind == "pays"
    assert verdict_of(card(300), card(240, "zero-shot"), min_gain=0.14).kind == "cannot_tell"
    assert verdict_of(card(300), card(240, "zero-shot"), min_gain=0.30).kind == "does_not_pay"


def test_a_sure_gain_that_costs_more_than_it_is_worth_does_not_pay():
    trained = card(300, training_seconds=3.6e9)

    verdict = verdict_of(trained, card(240, "zero-shot"))

    assert (verdict.kind, verdict.recommended) == ("does_not_pay", "zero-shot")
    assert verdict.net_value_high < 0
    assert verdict.break_even_requests_per_month > CHEAP.requests_per_month
    assert verdict.sentence.endswith("; use zero-shot.")


def test_a_gain_whose_worth_is_uncertain_can_not_be_told():
    worth_in_between = 0.15 * CHEAP.requests_per_month * CHEAP.horizon_months
    seconds = worth_in_between / CHEAP.training_price_per_hour * 3600

    verdict = verdict_of(card(300, training_seconds=seconds), card(240, "zero-shot"))

    assert verdict.kind == "cannot_tell"
    assert verdict.net_value_low < 0 < verdict.net_value_high


def test_the_candidate_must_beat_every_cheaper_option():
    verdict = verdict_of(card(300), card(200, "zero-shot"), card(299, "classical"), card(150, "random-4"))

    assert (verdict.kind, verdict.best_cheaper) == ("cannot_tell", "classical")
    assert verdict.recommended == "classical"


def test_an_option_that_surely_is_enough_decides():
    verdict = verdict_of(card(300), card(390, "classical"), card(298, "zero-shot"))

    assert (verdict.kind, verdict.best_cheaper) == ("does_not_pay", "classical")


def test_a_cheap_host_may_be_the_one_that_is_not_beaten():
    costly = Economics(hosting_price_per_hour=150.0, requests_per_month=1_000_000, value_per_correct_answer=1.0)
    slow, quick = card(300, rate=0.1, economics=costly), card(200, "classical", rate=1000.0, economics=costly)
    strong = card(240, "nearest-8", rate=0.1, economics=costly)

    verdict = verdict_of(slow, strong, quick, economics=costly)

    assert (verdict.kind, verdict.best_cheaper) == ("does_not_pay", "classical")


def test_more_records_are_suggested_where_they_would_tell():
    verdict = verdict_of(card(300), card(295, "zero-shot"))

    assert verdict.kind == "cannot_tell"
    assert 100 < verdict.more_test_records < 2000
    assert "more test records would tell" in verdict.sentence


def test_no_number_of_records_tells_equals_apart():
    free = Economics(value_per_correct_answer=1.0)
    verdict = verdict_of(card(300), card(300, "zero-shot"), economics=free)

    assert verdict.kind == "cannot_tell"
    assert verdict.more_test_records is None
    assert "too close" in verdict.sentence


def test_without_a_cheaper_option_nothing_is_told():
    verdict = verdict_of(card(300))

    assert (verdict.kind, verdict.gain) == ("cannot_tell", None)
    assert "no cheaper option was scored" in verdict.sentence


@pytest.mark.parametrize("right", [150, 299, 300, 301, 390])
def test_the_sentence_is_one_and_names_its_rule(right):
    verdict = verdict_of(card(300), card(right, "zero-shot"))

    assert verdict.sentence.count(". ") == 0
    assert verdict.sentence.endswith(".")
    assert "promotion.min_gain (0 points)" in verdict.rule
    assert "-0 EUR" not in verdict.sentence


def test_pays_is_harder_to_say_at_a_later_look():
    barely = card(300), card(292, "zero-shot")

    verdicts = [verdict_of(*barely, look=look) for look in (1, 3)]

    assert [verdict.kind for verdict in verdicts] == ["pays", "cannot_tell"]
    assert [verdict.gain.confidence for verdict in verdicts] == pytest.approx([0.95, 1 - 2 * 0.05 / 12])


def test_the_interval_that_decided_is_the_one_that_is_shown():
    verdict = verdict_of(card(300), card(240, "zero-shot"), look=3)

    shown = f"(99.166% interval {100 * verdict.gain.low:.1f} to {100 * verdict.gain.high:.1f}, look 3 at this test set)"
    assert shown in verdict.sentence
    assert "paired 99.166% interval" in verdict.rule
    assert "look" not in verdict_of(card(300), card(240, "zero-shot")).sentence


def test_a_look_never_makes_the_interval_narrower_than_the_recipe_wants():
    assert verdict_of(card(300), card(240, "zero-shot"), alpha=0.2).gain.confidence == 0.95
    assert verdict_of(card(300), card(240, "zero-shot"), look=2, confidence=0.999).gain.confidence == 0.999


def test_as_many_more_records_are_suggested_as_the_next_look_needs():
    equal_enough = card(300), card(295, "zero-shot")

    first, third = (verdict_of(*equal_enough, look=look) for look in (1, 3))

    assert third.kind == "cannot_tell"
    assert third.more_test_records > first.more_test_records
