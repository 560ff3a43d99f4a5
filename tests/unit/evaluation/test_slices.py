from tasks.evaluation.slices import EvaluationRows, Slice, compare_slices, evaluation_rows, worst_looking
from tests.unit.evaluation.factories import LABELS, make_records


def rows_of(*sizes):
    count = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    slices = [
        Slice("site", f"s{i}", tuple(range(a, a + n))) for i, (a, n) in enumerate(zip(starts, sizes, strict=True))
    ]
    ids = tuple(str(i) for i in range(count))
    return EvaluationRows(ids, ids, tuple(slices))


def blocked(rows, candidate, *, min_rows=30, max_loss=0.05, confidence=0.95):
    compared = compare_slices(
        candidate, [1.0] * len(candidate), rows=rows, min_rows=min_rows, max_loss=max_loss, confidence=confidence
    )
    return [item.value for item in compared if item.blocks]


def test_each_property_cuts_all_rows():
    rows = evaluation_rows(make_records(60), slice_by=("label", "length", "site", "ward"), labels=LABELS)

    for name in ("label", "length", "site", "ward"):
        covered = [row for part in rows.slices if part.slice == name for row in part.rows]
        assert sorted(covered) == list(range(60))
    assert {part.value for part in rows.slices if part.slice == "ward"} == {"(none)"}


def test_lengths_fall_into_thirds():
    rows = evaluation_rows(make_records(60), slice_by=("length",), labels=None)

    assert {part.value: len(part.rows) for part in rows.slices} == {
        "0 to 10 characters": 20,
        "11 to 20 characters": 20,
        "21 characters and more": 20,
    }


def test_equal_lengths_make_one_slice():
    records = [record for record in make_records(60) if len(record.prompt) == 4]

    assert len(evaluation_rows(records, slice_by=("length",), labels=None).slices) == 1


def test_free_text_has_no_label_slices():
    assert evaluation_rows(make_records(10), slice_by=("label",), labels=None).slices == ()


def test_a_slice_that_surely_loses_blocks():
    candidate = [0.0] * 15 + [1.0] * 25 + [1.0] * 40

    assert blocked(rows_of(40, 40), candidate) == ["s0"]


def test_a_tolerated_loss_does_not_block():
    candidate = [0.0] * 15 + [1.0] * 25 + [1.0] * 40

    assert blocked(rows_of(40, 40), candidate, max_loss=0.4) == []


def test_a_slice_with_too_few_rows_is_not_tested():
    compared = compare_slices(
        [0.0] * 29 + [1.0] * 30, [1.0] * 59, rows=rows_of(29, 30), min_rows=30, max_loss=0.05, confidence=0.95
    )

    assert [(item.n, item.p_value is None, item.blocks) for item in compared] == [(29, True, False), (30, False, False)]


def test_many_slices_make_one_that_loses_less_telling():
    losing = [0.0] * 7 + [1.0] * 33

    assert blocked(rows_of(40), losing) == ["s0"]
    assert blocked(rows_of(*[40] * 20), losing + [1.0] * 760) == []


def test_records_of_one_group_count_as_one():
    rows = rows_of(40)
    grouped = EvaluationRows(rows.record_ids, tuple(str(i // 10) for i in range(40)), rows.slices)
    losing = [0.0] * 10 + [1.0] * 30

    assert blocked(rows, losing) == ["s0"]
    assert blocked(grouped, losing) == []


def one_group_loses(loss):
    rows = EvaluationRows(
        tuple(map(str, range(120))),
        tuple("one" if i < 60 else str(i) for i in range(120)),
        (Slice("site", "one group", tuple(range(60))), Slice("site", "many", tuple(range(60, 120)))),
    )
    right = round(60 * (1 - loss))
    candidate = [1.0] * right + [0.0] * (60 - right) + [1.0] * 60
    return compare_slices(candidate, [1.0] * 120, rows=rows, min_rows=30, max_loss=0.05, confidence=0.95)


def test_a_large_loss_in_one_group_is_not_sure_but_looks_worse():
    compared = one_group_loses(0.5)

    worst = worst_looking(compared)
    assert not any(item.blocks for item in compared)
    assert worst is not None
    assert (worst.value, worst.n, worst.groups) == ("one group", 60, 1)
    assert [item.groups for item in compared] == [1, 60]


def test_a_small_loss_is_not_worth_a_warning():
    assert worst_looking(one_group_loses(0.05)) is None


def test_a_slice_that_blocks_needs_no_second_warning():
    compared = compare_slices(
        [0.0] * 40 + [1.0] * 40, [1.0] * 80, rows=rows_of(40, 40), min_rows=30, max_loss=0.05, confidence=0.95
    )

    assert worst_looking(compared) is None
