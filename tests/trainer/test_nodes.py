"""Where ranks may lie for the communicators that sum by node."""

from __future__ import annotations

from typing import List, Optional

import pytest

from trainer.communicators.nodes import misplaced
from trainer.communicators.pieces import bounds


@pytest.mark.parametrize(
    ("first_of_node", "nodes", "problem"),
    [
        ([0], 1, None),
        ([0, 0, 0], 1, None),
        ([0, 0, 2, 2], 2, None),
        ([0, 1, 2], 3, None),
        ([0, 0, 2, 2], 1, "x: the ranks lie on 2 nodes, the run was made for 1 node"),
        ([0, 0, 0, 0], 2, "x: the ranks lie on 1 node, the run was made for 2 nodes"),
        (
            [0, 0, 0, 0, 4, 4],
            2,
            "x needs as many ranks on each node, in blocks; "
            "found rank(s) 0, 1, 2, 3 on node 1; 4, 5 on node 2",
        ),
        (
            [0, 1, 0, 1],
            2,
            "x needs as many ranks on each node, in blocks; "
            "found rank(s) 0, 2 on node 1; 1, 3 on node 2",
        ),
    ],
)
def test_places(first_of_node: List[int], nodes: int, problem: Optional[str]) -> None:
    assert misplaced("x", first_of_node, nodes) == problem


def test_bounds_cover_a_buffer_of_any_size() -> None:
    assert bounds(10, 4) == [0, 2, 5, 7, 10]
    assert bounds(2, 3) == [0, 0, 1, 2]
    assert bounds(0, 2) == [0, 0, 0]
