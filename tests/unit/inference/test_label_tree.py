from __future__ import annotations

import numpy as np
import pytest

from tasks.inference.label_tree import NONE, ROOT, build_label_tree

SHARED = [[5, 6, 7, 2], [5, 6, 2], [5, 8, 2], [9, 2]]


def test_tokens_that_labels_share_are_nodes_once_and_last_tokens_are_none() -> None:
    tree = build_label_tree(SHARED)

    assert sorted(tree.token_ids.tolist()) == [5, 6, 7, 8, 9]


def test_a_label_is_scored_by_exactly_its_own_tokens() -> None:
    tree = build_label_tree(SHARED)

    for label, path in zip(SHARED, tree.paths, strict=True):
        assert tree.edge_tokens[path == 1].tolist() == label


def test_a_node_sees_only_its_own_way_to_the_root() -> None:
    tree = build_label_tree(SHARED)
    node = {token: place for place, token in enumerate(tree.token_ids.tolist())}

    seen = {
        token: {int(tree.token_ids[other]) for other in np.flatnonzero(tree.ancestors[node[token]])} for token in node
    }

    assert seen == {5: {5}, 6: {5, 6}, 7: {5, 6, 7}, 8: {5, 8}, 9: {9}}


def test_each_edge_leads_from_its_node_to_the_next_one() -> None:
    tree = build_label_tree(SHARED)

    for node, token, child in zip(tree.edge_nodes, tree.edge_tokens, tree.edge_children, strict=True):
        depth = 0 if node == ROOT else tree.depths[node] + 1
        assert child == NONE or (tree.token_ids[child], tree.depths[child]) == (token, depth)


def test_each_label_ends_at_one_edge() -> None:
    tree = build_label_tree(SHARED)

    ends = {int(label): int(token) for label, token in zip(tree.edge_labels, tree.edge_tokens, strict=True)}

    assert {label: token for label, token in ends.items() if label != NONE} == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_label_that_begins_another_is_scored_too() -> None:
    tree = build_label_tree([[5], [5, 6]])

    assert tree.paths.tolist() == [[1, 0], [1, 1]]
    assert tree.edge_labels.tolist() == [0, 1]


def test_equal_labels_share_everything_and_end_as_the_first() -> None:
    tree = build_label_tree([[5, 2], [5, 2]])

    assert tree.paths.tolist() == [[1, 1], [1, 1]]
    assert tree.edge_labels.tolist() == [NONE, 0]


@pytest.mark.parametrize("labels", [[], [[5], []]])
def test_labels_without_tokens_are_refused(labels: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        build_label_tree(labels)
