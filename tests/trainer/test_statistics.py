"""Running statistics over simulated ranks, in evaluation, and in model files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import chainer
import numpy as np
import pytest

from trainer.model_file import load_initial, model_bytes
from trainer.models.nin import MlpConv
from trainer.models.resnet50 import Bottleneck
from trainer.ranks import Ranks
from trainer.statistics import RankStatistics, named_statistics
from trainer.trouble import TrainerError


class Given(Ranks):
    """One process, with these ranks; what all processes gather, one after another, is given."""

    def __init__(self, hosted: Tuple[int, ...], size: int, gathered: Sequence[List[Any]]) -> None:
        self.process, self.processes, self.size = hosted[0], size // len(hosted), size
        self._gathered = list(gathered)

    def gather(self, value: Any) -> List[Any]:
        return [value if other is OWN else other for other in self._gathered.pop(0)]


#: In what is gathered: this process's value.
OWN = object()


def trained(seed: int) -> Any:
    """A block whose statistics have seen one batch."""
    model = Bottleneck(4, 2, 1)
    x = np.random.Generator(np.random.Philox(seed)).standard_normal((3, 4, 5, 5), np.float32)
    for parameter in model.params():
        if parameter.ndim > 1:
            parameter.array[...] = np.linspace(-1, 1, parameter.size).reshape(parameter.shape)
    with chainer.using_config("train", True):
        model(x)
    return model


def joined(model: Any) -> Any:
    return np.concatenate(list(named_statistics(model).values()))


def test_every_normalisation_has_statistics_which_training_moves() -> None:
    assert sorted(named_statistics(trained(0))) == [
        f"/{link}/norm/{key}"
        for link in ("expand", "reduce", "shortcut", "three")
        for key in ("avg_mean", "avg_var")
    ]
    assert (joined(trained(0)) != joined(Bottleneck(4, 2, 1))).mean() > 0.9


def test_mean_is_that_of_float64_in_rank_order() -> None:
    """In float32, and in another order, the small value would be lost."""
    model = Bottleneck(4, 2, 1)
    length = len(joined(model))
    values = [np.full(length, value, np.float32) for value in (1e8, 3.0, -1e8)]
    statistics = RankStatistics(model, Given((1,), 3, [[values[0], values[1], values[2]]]))
    statistics.bind_mean()
    assert joined(model).dtype == np.float32
    assert joined(model).tolist() == [1.0] * length


def test_evaluation_leaves_each_rank_its_own() -> None:
    first, second = trained(0), trained(1)
    before, other = joined(first), joined(second)
    statistics = RankStatistics(first, Given((0,), 2, [[OWN, other]]))
    with statistics.averaged():
        expected = ((before.astype(np.float64) + other) / 2).astype(np.float32)
        assert joined(first).tobytes() == expected.tobytes()
    assert joined(first).tobytes() == before.tobytes()
    assert not np.array_equal(before, other)


def test_ranks_of_one_process_share_no_statistics() -> None:
    """Training moves those of the rank at work, and of no other."""
    model = trained(0)
    before = joined(model)
    own: Dict[int, Any] = {}
    statistics = RankStatistics(model, Given((0, 1), 2, [[OWN], [OWN]]))
    for rank in (0, 1):
        with statistics.of(rank):
            assert joined(model).tobytes() == before.tobytes()
            for name, array in named_statistics(model).items():
                array += np.float32(1 + rank + len(name))
            own[rank] = joined(model)
    assert not np.array_equal(own[0], own[1])
    for rank in (0, 1):
        found = np.concatenate(list(statistics.named(rank).values()))
        assert found.tobytes() == own[rank].tobytes()
    with statistics.averaged():
        expected = ((own[0].astype(np.float64) + own[1]) / 2).astype(np.float32)
        assert joined(model).tobytes() == expected.tobytes()
    with statistics.of(1):
        assert joined(model).tobytes() == own[1].tobytes()


def test_the_mean_is_the_same_on_any_number_of_processes() -> None:
    """Five ranks: on five processes, on two, on one."""
    values = [joined(trained(seed)) for seed in range(5)]
    means = set()
    rounds: List[List[List[Any]]] = [
        [values],
        [[OWN, values[1]], [OWN, values[3]], [OWN, None]],
        [[OWN]] * 5,
    ]
    for processes, gathered in zip((5, 2, 1), rounds):
        model = trained(0)
        hosted = tuple(range(0, 5, processes))
        ranks = Given(hosted, 5, gathered)
        ranks.processes = processes
        statistics = RankStatistics(model, ranks)
        for rank in hosted:
            for array, value in zip(
                statistics.named(rank).values(),
                named_statistics(trained(rank)).values(),
            ):
                array[...] = value
        statistics.bind_mean()
        means.add(joined(model).tobytes())
    assert len(means) == 1


def test_networks_without_statistics_gather_nothing() -> None:
    # Nothing is given: a gather would fail.
    with RankStatistics(MlpConv(3, (2, 2, 2), 1, 1, 0), Given((0,), 2, [])).averaged():
        pass


def test_model_file_holds_statistics_and_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = trained(0)
    path.write_bytes(model_bytes(model))
    fresh = Bottleneck(4, 2, 1)
    assert load_initial(fresh, path) == []
    assert joined(fresh).tobytes() == joined(model).tobytes()
    stock = copy.deepcopy(Bottleneck(4, 2, 1))
    chainer.serializers.load_npz(path, stock)
    assert joined(stock).tobytes() == joined(model).tobytes()


def test_statistics_that_are_missing_are_said(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(model_bytes(trained(0)))
    with np.load(path) as archive:
        np.savez(path, **{k: v for k, v in archive.items() if k != "three/norm/avg_var"})
    assert load_initial(Bottleneck(4, 2, 1), path) == [
        "three/norm/avg_var is not in the file and keeps its first value"
    ]


def test_statistics_alone_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, **{"three/norm/avg_var": np.ones(2, np.float32)})
    with pytest.raises(TrainerError, match="no parameter fits the network"):
        load_initial(Bottleneck(4, 2, 1), path)
