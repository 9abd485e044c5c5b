"""Running statistics over simulated ranks, in evaluation, and in model files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, List

import chainer
import numpy as np
import pytest

from trainer.model_file import load_initial, model_bytes
from trainer.models.nin import MlpConv
from trainer.models.resnet50 import Bottleneck
from trainer.ranks import Ranks
from trainer.statistics import average_statistics, averaged, mean_of, named_statistics
from trainer.trouble import TrainerError


class Gathered(Ranks):
    """A world whose other ranks' values are known."""

    def __init__(self, others: List[Any]) -> None:
        self.others = others

    def gather(self, value: Any) -> List[Any]:
        return [value, *self.others]


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
    # In float32 the small value would be lost.
    parts = [np.array([value], np.float32) for value in (1e8, 3.0, -1e8)]
    assert mean_of(parts).tolist() == [1.0]
    assert mean_of(parts).dtype == np.float32
    assert mean_of(parts[:1]).tobytes() == parts[0].tobytes()


def test_average_is_a_function_of_the_ranks_values() -> None:
    first, second = trained(0), trained(1)
    one, other = joined(first), joined(second)
    average_statistics(first, Gathered([other]))
    expected = ((one.astype(np.float64) + other) / 2).astype(np.float32)
    assert joined(first).tobytes() == expected.tobytes()
    assert not np.array_equal(one, other)


def test_evaluation_leaves_each_rank_its_own() -> None:
    first, second = trained(0), trained(1)
    before = joined(first)
    with averaged(first, Gathered([joined(second)])):
        assert not np.array_equal(joined(first), before)
    assert joined(first).tobytes() == before.tobytes()


def test_networks_without_statistics_gather_nothing() -> None:
    # Without other ranks' values a gather would fail.
    with averaged(MlpConv(3, (2, 2, 2), 1, 1, 0), Ranks.__new__(Ranks)):
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
