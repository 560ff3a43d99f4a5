import dataclasses

import pytest

from configs.errors import DataError
from configs.schema import Economics, Evaluation
from tasks.evaluation.comparison import compare
from tasks.evaluation.scorecards import make_scorecard, scorecard_from_json, scorecard_to_json
from tasks.evaluation.scored_answers import score_answers
from tasks.inference.options import Option
from tests.unit.evaluation.factories import make_answers, make_card, make_records, make_rows

RECORDS = make_records(80)


def score(answers, **evaluation):
    rows = make_rows(RECORDS)
    return make_scorecard(
        score_answers(
            Option("x", "prompt"), answers, RECORDS, rows=rows, labels=None, evaluation=Evaluation(**evaluation)
        ),
        rows=rows,
        evaluation=Evaluation(**evaluation),
        economics=Economics(),
        training_seconds=0,
        seconds_saved_by_pruning=0,
        seed=1,
    )


def test_a_scorecard_counts_right_answers():
    card = make_card(RECORDS, wrong=range(20))

    assert (card.estimate.value, card.n, card.estimate.method) == (0.75, 80, "Wilson")
    assert card.estimate.low < 0.75 < card.estimate.high
    assert set(card.secondary) == {"normalised_match", "token_f1"}
    assert sum(card.row_scores) == 60


@pytest.mark.parametrize(
    ("evaluation", "beside"),
    [
        ({}, {"normalised_match", "token_f1", "rouge_l", "chrf"}),
        ({"also": ()}, set()),
        ({"metric": "rouge_l", "also": ("bleu", "rouge_l")}, {"bleu"}),
    ],
)
def test_free_text_is_shown_with_the_metrics_that_suit_it_or_those_asked_for(evaluation, beside):
    card = score(make_answers(RECORDS, wrong=range(20)), bootstrap_resamples=200, **evaluation)

    assert set(card.secondary) == beside
    assert card.figures == {"length_ratio": 1.0}
    assert make_card(RECORDS, wrong=()).figures == {}


def test_records_with_groups_get_wider_intervals():
    grouped = make_card(make_records(80, group_size=4), wrong=range(20))

    assert grouped.estimate.method == "Wilson by group"
    assert grouped.estimate.low < make_card(RECORDS, wrong=range(20)).estimate.low


def test_slices_carry_their_own_intervals():
    card = make_card(RECORDS, wrong=range(20))
    north = next(row for row in card.slices if row.value == "north")

    assert (north.slice, north.n, north.estimate.value) == ("site", 20, 0.0)
    assert north.estimate.high > 0.1


def test_latency_is_by_quantile():
    card = make_card(RECORDS, wrong=())

    assert card.latency_p50_seconds == pytest.approx(0.125)
    assert card.latency_p95_seconds == pytest.approx(0.2285)


def test_answers_are_matched_by_record_not_by_order():
    answers = make_answers(RECORDS, wrong=[0])
    turned = dataclasses.replace(answers, answers=answers.answers[::-1], latency_seconds=())

    card = score(turned)

    assert card.row_scores == (0.0, *[1.0] * 79)
    assert card.latency_p95_seconds is None


def test_answers_to_other_records_are_refused():
    with pytest.raises(DataError, match=r"option 'x' are for other records.*79 answers, 80 records, 79 in common"):
        score(make_answers(RECORDS[:79], wrong=()))


def test_a_scorecard_survives_json():
    card = make_card(RECORDS, wrong=range(7), training_seconds=3600)

    assert scorecard_from_json(scorecard_to_json(card)) == card


def test_comparison_pairs_the_records():
    first, second = make_card(RECORDS, wrong=range(10)), make_card(RECORDS, wrong=range(5, 25), name="zero-shot")

    gain = compare(first, second, rows=make_rows(RECORDS), confidence=0.95)

    assert gain.difference == pytest.approx(10 / 80)
    assert gain.low == pytest.approx(-compare(second, first, rows=make_rows(RECORDS), confidence=0.95).high)


def test_scorecards_of_other_records_are_not_compared():
    other = make_card(make_records(79), wrong=(), name="old champion")

    with pytest.raises(DataError, match="'old champion' was scored by exact_match on 79 records"):
        compare(make_card(RECORDS, wrong=()), other, rows=make_rows(RECORDS), confidence=0.95)
