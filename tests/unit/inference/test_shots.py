from __future__ import annotations

import pytest

from configs.errors import RecipeError
from tasks.data.records import Record, SplitName, Turn
from tasks.inference.options import ShotStrategy
from tasks.inference.shots import choose_shots

LABELS = ("fruit", "tool", "animal")


def record(number: int, prompt: str, *, completion: str = "fruit", split: SplitName = "train") -> Record:
    return Record(f"{number:04d}", split, str(number), (Turn("user", prompt),), completion)


TRAIN = [record(number, f"{LABELS[number % 3]} number {number}", completion=LABELS[number % 3]) for number in range(30)]
QUERIES = [record(100 + number, f"what is {number}", split="test") for number in range(4)]


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_an_order_changes_the_places_of_the_examples_and_nothing_else(strategy: ShotStrategy) -> None:
    first, back, shuffled, again = (
        choose_shots(strategy, 6, TRAIN, QUERIES, seed=1, labels=LABELS, order=order) for order in (0, 1, 2, 2)
    )

    assert back == [shots[::-1] for shots in first]
    assert shuffled == again
    assert shuffled not in (first, back)
    for one, other in zip(first, shuffled, strict=True):
        assert sorted(each.record_id for each in one) == sorted(each.record_id for each in other)


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_shots_are_training_records_and_as_many_as_asked_for(strategy: ShotStrategy) -> None:
    shots = choose_shots(strategy, 5, TRAIN, QUERIES, seed=1, labels=LABELS)

    assert [len(each) for each in shots] == [5] * len(QUERIES)
    assert {shot.record_id for each in shots for shot in each} <= {each.record_id for each in TRAIN}


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_no_shot_is_given_twice(strategy: ShotStrategy) -> None:
    shots = choose_shots(strategy, 12, TRAIN, QUERIES, seed=1, labels=LABELS)

    assert all(len({shot.record_id for shot in each}) == 12 for each in shots)


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_shots_do_not_depend_on_the_order_of_the_training_records(strategy: ShotStrategy) -> None:
    there = choose_shots(strategy, 5, TRAIN, QUERIES, seed=1, labels=LABELS)
    back = choose_shots(strategy, 5, TRAIN[::-1], QUERIES, seed=1, labels=LABELS)

    assert there == back


@pytest.mark.parametrize("strategy", ["random", "balanced"])
def test_random_and_balanced_shots_are_the_same_for_all_queries(strategy: ShotStrategy) -> None:
    shots = choose_shots(strategy, 5, TRAIN, QUERIES, seed=1, labels=LABELS)

    assert all(each == shots[0] for each in shots)


@pytest.mark.parametrize("strategy", ["random", "balanced"])
def test_another_seed_picks_other_shots(strategy: ShotStrategy) -> None:
    assert choose_shots(strategy, 5, TRAIN, QUERIES, seed=1, labels=LABELS) != choose_shots(
        strategy, 5, TRAIN, QUERIES, seed=2, labels=LABELS
    )


def test_balanced_shots_deal_the_labels_evenly() -> None:
    mostly_fruit = [*TRAIN, *(record(200 + number, "apple") for number in range(50))]

    (shots, *_) = choose_shots("balanced", 7, mostly_fruit, QUERIES, seed=3, labels=LABELS)

    counts = sorted(sum(shot.completion == label for shot in shots) for label in LABELS)
    assert counts == [2, 2, 3]


def test_balanced_shots_go_on_with_the_other_labels_when_one_runs_out() -> None:
    one_tool = [*(record(number, "apple") for number in range(5)), record(9, "hammer", completion="tool")]

    (shots, *_) = choose_shots("balanced", 4, one_tool, QUERIES, seed=3, labels=LABELS)

    assert sorted(shot.completion for shot in shots) == ["fruit", "fruit", "fruit", "tool"]


def test_balanced_shots_need_labels() -> None:
    with pytest.raises(RecipeError, match=r"data\.labels"):
        choose_shots("balanced", 4, TRAIN, QUERIES, seed=3, labels=None)


def test_the_nearest_shot_stands_last() -> None:
    train = [record(1, "fracture of the left arm"), record(2, "ulcer of stomach"), record(3, "fracture of skull")]
    query = record(100, "fracture of left arm", split="test")

    (shots,) = choose_shots("nearest", 2, train, [query], seed=0, labels=None)

    assert [shot.record_id for shot in shots] == ["0003", "0001"]


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_a_query_is_never_its_own_shot(strategy: ShotStrategy) -> None:
    shots = choose_shots(strategy, 8, TRAIN, TRAIN, seed=1, labels=LABELS)

    assert all(query not in each and len(each) == 8 for query, each in zip(TRAIN, shots, strict=True))


@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_all_training_records_are_used_where_there_are_too_few(strategy: ShotStrategy) -> None:
    shots = choose_shots(strategy, 50, TRAIN, QUERIES, seed=1, labels=LABELS)

    assert all(len(each) == len(TRAIN) for each in shots)


def test_nearest_works_on_prompts_without_text() -> None:
    blank = [record(number, " ") for number in range(3)]

    (shots,) = choose_shots("nearest", 2, blank, [record(100, " ", split="test")], seed=0, labels=None)

    assert len(shots) == 2


def test_zero_shot_has_no_shots() -> None:
    assert choose_shots("none", 0, TRAIN, QUERIES, seed=1, labels=None) == [[], [], [], []]


def test_no_order_comes_twice_as_long_as_there_are_others() -> None:
    orders = [choose_shots("random", 3, TRAIN, QUERIES, seed=1, labels=LABELS, order=order)[0] for order in range(6)]

    assert len({tuple(shot.record_id for shot in shots) for shots in orders}) == 6
