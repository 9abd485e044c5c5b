"""What the host knows of the networks is what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chainer
import numpy as np
import pytest

from manifests.datasets.initmodel import read_initmodel
from manifests.record.network_shapes import SHAPES_FILE, network_shapes
from trainer.initial import named_arrays, set_initial
from trainer.model_file import load_initial
from trainer.models import MODELS, shapes
from trainer.statistics import named_statistics


def test_the_kept_shapes_are_those_of_the_networks() -> None:
    assert SHAPES_FILE.read_text(encoding="utf-8") == shapes.text(), (
        "write it anew: python3 -m trainer.models.shapes >manifests/record/network_shapes.json"
    )


@pytest.mark.parametrize("arch", sorted(MODELS))
def test_shapes_for_a_number_of_classes(arch: str) -> None:
    found = network_shapes(arch, 7)
    made = shapes.arrays_of(arch, 7)
    assert (found.parameters, found.statistics) == (made["parameters"], made["statistics"])


def snapshot_of(classifier: Any, path: Path) -> None:
    """Saved as the extension ``snapshot`` of Chainer's trainer does."""
    data = [(np.zeros((3, 8, 8), np.float32), np.int32(0))] * 2
    iterator = chainer.iterators.SerialIterator(data, 1)
    optimizer = chainer.optimizers.MomentumSGD().setup(classifier)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (1, "iteration"), out=str(path.parent))
    trainer.extend(chainer.training.extensions.LogReport(trigger=(1, "iteration")))
    trainer._start_at = 0.0  # as when it was run
    chainer.serializers.save_npz(str(path), trainer)


@pytest.mark.parametrize("arch", ["nin", "googlenetbn"])
@pytest.mark.parametrize("whole", [False, True])
def test_models_that_chainer_saved(tmp_path: Path, arch: str, whole: bool) -> None:
    network = MODELS[arch](4)
    set_initial(network, 3)
    for number, statistic in enumerate(named_statistics(network).values()):
        statistic[...] = number
    classifier = chainer.links.Classifier(network)
    path, prefix = tmp_path / "model.npz", "predictor/"
    if whole:
        prefix = f"updater/model:main/{prefix}"
        snapshot_of(classifier, path)
    else:
        chainer.serializers.save_npz(str(path), classifier)
    found = read_initmodel(path, arch, 4)
    total = len(named_arrays(network))
    assert found.note == (
        f"initmodel: {total} of {total} parameters of {arch} are in {path}; "
        f"names there begin with {prefix}, which is left out"
    )
    (tmp_path / "initmodel.npz").write_bytes(found.data)
    again = MODELS[arch](4)
    assert load_initial(again, tmp_path / "initmodel.npz") == []
    for of in (named_arrays, named_statistics):
        expected = of(network)
        assert {name: array.tobytes() for name, array in of(again).items()} == {
            name: array.tobytes() for name, array in expected.items()
        }
