"""Orders of summation, value by value: the promised bits, and no more sums waiting than said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, List

import numpy as np
import pytest

from manifests.record.communicators import COMMUNICATOR_KINDS
from tests.trainer.test_mpi_runs import doubling
from trainer.communicators import make_reduction
from trainer.communicators.ordered import TreeReduction, group_size
from trainer.communicators.summation import ORDERS, SumOrder, TreeSum
from trainer.gpu.gpu import Gpu
from trainer.ranks import hosted_ranks
from trainer.trouble import CannotPromise


def values_of(ranks: int, seed: int = 0) -> List[Any]:
    return [
        np.random.Generator(np.random.Philox([seed, rank])).standard_normal(7, dtype=np.float32)
        for rank in range(ranks)
    ]


def in_blocks(values: List[Any], block: int) -> Any:
    """Blocks in rank order, their sums by recursive doubling."""
    inside = []
    for first in range(0, len(values), block):
        total = values[first].copy()
        for value in values[first + 1 : first + block]:
            total += value
        inside.append(total)
    return doubling(inside)


@pytest.mark.parametrize("ranks", [*range(1, 34), 48, 64, 100, 1000, 1024])
def test_a_sum_of_values_one_by_one(ranks: int) -> None:
    """Twice with the same tree, whose memory is used again; no value is changed by it."""
    blocks = [block for block in range(1, ranks + 1) if ranks % block == 0]
    for block in blocks if ranks < 100 else (1, ranks // 4, ranks):
        order = SumOrder(ranks, block)
        tree = TreeSum(order)
        for seed in (0, 1):
            values, most = values_of(ranks, seed), 0
            for value in values:
                tree.add(value)
                most = max(most, len(tree._waiting) + len(tree._partial))
            assert tree.total().tobytes() == in_blocks(values_of(ranks, seed), block).tobytes()
            assert most == order.depth and len(tree._free) <= order.depth
            for value, given in zip(values, values_of(ranks, seed)):
                assert value.tobytes() == given.tobytes()


def test_every_order_is_known_or_nccls() -> None:
    assert ORDERS.keys() == {
        name for name, kind in COMMUNICATOR_KINDS.items() if kind.can_be_hosted(with_gpus=False)
    }
    assert {name for name in ORDERS if COMMUNICATOR_KINDS[name].can_be_hosted(with_gpus=True)} == {
        "naive",
        "flat",
        "ordered",
    }


def test_every_rank_is_computed_once() -> None:
    for ranks in range(1, 20):
        for processes in range(1, ranks + 1):
            hosted = [hosted_ranks(process, processes, ranks) for process in range(processes)]
            assert sorted(rank for own in hosted for rank in own) == list(range(ranks))
            assert all(own for own in hosted)


class OneProcess:
    """MPI with a single process."""

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 1

    def Split(self, color: int, key: int) -> Any:
        return self


def test_a_thousand_ranks_on_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recursion, no message, and not more memory than the formula says."""
    from trainer.communicators import ordered

    monkeypatch.setattr(ordered, "node_communicator", lambda mpi: mpi)
    reduction = TreeReduction(OneProcess(), SumOrder(1024))
    values = values_of(1024)
    parameter = SimpleNamespace(grad=np.empty(7, np.float32))
    model: Any = SimpleNamespace(namedparams=lambda: [("/a", parameter)])
    for value in values:
        parameter.grad[...] = value
        reduction.add(model)
    reduction.finish(model)
    mean = doubling(values) * np.float32(1 / 1024)
    assert parameter.grad.tobytes() == mean.tobytes()
    assert len(reduction._tree._free) <= reduction._order.depth == 10


@pytest.mark.parametrize(
    ("first_of_node", "size"),
    [([0], 1), ([0, 0], 2), ([0, 1], 1), ([0, 0, 2, 2], 2), ([0] * 6, 2), ([0] * 8, 8),
     ([0] * 3 + [3] * 3, 1), ([0] * 4 + [4] * 4 + [8] * 4, 4), ([0, 0, 0, 3], 1)],
)  # fmt: skip
def test_groups_of_two_levels_are_aligned_subtrees(first_of_node: List[int], size: int) -> None:
    assert group_size(first_of_node) == size


@pytest.mark.parametrize(
    ("name", "gpu", "processes", "nodes"),
    [
        ("pure_nccl", Gpu(None, None), 2, None),
        ("hierarchical", Gpu(None, None), 2, None),
        ("single_node", Gpu(None, None), 3, None),
        ("two_dimensional", Gpu(None, None), 4, 1),
    ],
)
def test_sums_of_nccl_cannot_be_hosted(name: str, gpu: Any, processes: int, nodes: Any) -> None:
    ranks: Any = SimpleNamespace(mpi=None, size=4, processes=processes, nodes=nodes)
    with pytest.raises(CannotPromise) as caught:
        make_reduction(name, ranks, 2, gpu)
    assert str(caught.value) == (
        f"{name} adds by NCCL in an order of its own: 4 ranks cannot be computed by {processes} "
        "processes with the same bits\n"
        "-> run it with one process and one GPU for each rank on 2 nodes; runs with communicator "
        "ordered, flat or naive can be computed by fewer"
    )
