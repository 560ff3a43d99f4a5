import dataclasses

import pytest

from configs.schema import Data, Evaluation
from tasks.evaluation.contest import contest_of, lineage_of
from tests.unit.evaluation.factories import make_records

RECORDS = make_records(20)
FILES = {"kind": "file", "train": "a.csv", "validation": "b.csv", "test": "c.csv"}


def contest(records=RECORDS, *, candidate="adapter", champion="1", **evaluation):
    return contest_of(candidate, champion, records=records, evaluation=Evaluation(**evaluation))


def relabelled(**change):
    return [dataclasses.replace(RECORDS[0], **change), *RECORDS[1:]]


@pytest.mark.parametrize(
    "other",
    [
        contest(candidate="another"),
        contest(champion="2"),
        contest(champion=None),
        contest(make_records(21)),
        contest(relabelled(completion="no")),
        contest(relabelled(group="g1")),
        contest(metric="token_f1"),
        contest(max_new_tokens=64),
    ],
    ids=["candidate", "champion", "no champion", "more rows", "label", "group", "metric", "longer answers"],
)
def test_whatever_may_change_the_answer_is_another_contest(other):
    assert other != contest()


def test_the_order_of_the_records_and_what_only_informs_make_no_other_contest():
    assert contest(RECORDS[::-1], confidence=0.9, slice_by=("site",)) == contest()


def data(source=FILES, **given):
    return Data.model_validate({"source": source, **given})


def test_an_own_split_is_one_line_whatever_the_recipe_says_beside_it():
    one_file = {"kind": "file", "path": "all.csv"}
    lines = [
        lineage_of(data()),
        lineage_of(data(group_by="customer")),
        lineage_of(data(split={"salt": "new"})),
        lineage_of(data(one_file, split={"column": "part"})),
        lineage_of(data(one_file, split={"column": "other"})),
    ]

    assert lines == [lines[0]] * 5
    assert lineage_of(data(one_file)) != lines[0]


def test_salt_and_groups_decide_what_is_tested_where_burnish_splits():
    one_file = {"kind": "file", "path": "all.csv"}
    lines = [
        lineage_of(data(one_file)),
        lineage_of(data(one_file, group_by="customer")),
        lineage_of(data(one_file, split={"salt": "new"})),
    ]

    assert all(lines.count(line) == 1 for line in lines)
    assert lineage_of(data(one_file, split={"test_fraction": 0.3})) == lines[0]
