"""The labels of a closed set as one tree of tokens: what labels share is run once. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""The last token of the prompt, from which the first token of each label is predicted."""

NONE = -2
"""Where there is no node, or no label."""


@dataclass(frozen=True)
class LabelTree:
    """Nodes are the label tokens that predict another one; edges are the predictions to be scored."""

    token_ids: NDArray[np.int64]
    """[nodes]: the token at each node, parents before children."""
    depths: NDArray[np.int64]
    """[nodes]: distance from the first label token."""
    ancestors: NDArray[np.bool_]
    """[nodes, nodes]: whether the column's node is the row's node or lies on its way to the root."""
    only_children: NDArray[np.int64]
    """[nodes]: the node that all labels through this one go to next, `NONE` where they part or one ends."""
    edge_nodes: NDArray[np.int64]
    """[edges]: the node that predicts, `ROOT` for the prompt's last token."""
    edge_tokens: NDArray[np.int64]
    """[edges]: the predicted token."""
    edge_children: NDArray[np.int64]
    """[edges]: the node of the predicted token, `NONE` where every label that goes there ends there."""
    edge_labels: NDArray[np.int64]
    """[edges]: the label that ends there, the first one of equal labels; `NONE` where none does."""
    paths: NDArray[np.float64]
    """[labels, edges]: 1 where the edge is on the label's way, else 0."""

    @property
    def size(self) -> int:
        """Number of nodes: the tokens that are run besides the prompt."""
        return len(self.token_ids)


def build_label_tree(label_ids: Sequence[Sequence[int]]) -> LabelTree:
    """Merge the labels' tokens into a tree.

    Args:
        label_ids: tokens of each label, its end token included; each has at least one.

    Raises:
        ValueError: there is no label, or one has no tokens.
    """
    if not label_ids or not all(label_ids):
        raise ValueError("label scoring needs at least one label, and each label at least one token")
    labels = [tuple(label) for label in label_ids]
    nodes: dict[tuple[int, ...], int] = {(): ROOT}
    edges: dict[tuple[int, ...], int] = {}
    for label in labels:
        for end in range(1, len(label) + 1):
            edges.setdefault(label[:end], len(edges))
            if end < len(label):
                nodes.setdefault(label[:end], len(nodes) - 1)
    inner = [path for path in nodes if path]
    paths = np.zeros((len(labels), len(edges)))
    for row, label in enumerate(labels):
        paths[row, [edges[label[:end]] for end in range(1, len(label) + 1)]] = 1
    return LabelTree(
        token_ids=np.array([path[-1] for path in inner], dtype=np.int64),
        depths=np.array([len(path) - 1 for path in inner], dtype=np.int64),
        ancestors=_ancestors(inner, nodes),
        only_children=_only_children(inner, nodes, edges),
        edge_nodes=np.array([nodes[path[:-1]] for path in edges], dtype=np.int64),
        edge_tokens=np.array([path[-1] for path in edges], dtype=np.int64),
        edge_children=np.array([nodes.get(path, NONE) for path in edges], dtype=np.int64),
        edge_labels=np.array([labels.index(path) if path in labels else NONE for path in edges], dtype=np.int64),
        paths=paths,
    )


def _ancestors(inner: Sequence[tuple[int, ...]], nodes: dict[tuple[int, ...], int]) -> NDArray[np.bool_]:
    visible = np.zeros((len(inner), len(inner)), dtype=np.bool_)
    for row, path in enumerate(inner):
        visible[row, [nodes[path[:end]] for end in range(1, len(path) + 1)]] = True
    return visible


def _only_children(
    inner: Sequence[tuple[int, ...]], nodes: dict[tuple[int, ...], int], edges: dict[tuple[int, ...], int]
) -> NDArray[np.int64]:
    following: dict[tuple[int, ...], list[int]] = {path: [] for path in nodes}
    for path in edges:
        following[path[:-1]].append(nodes.get(path, NONE))
    return np.array([following[path][0] if len(following[path]) == 1 else NONE for path in inner], dtype=np.int64)
