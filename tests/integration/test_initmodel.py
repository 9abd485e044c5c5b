"""A run that starts from a model saved as a whole Classifier, and one that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manifests.record.network_shapes import network_shapes
from manifests.record.npz_file import npz_bytes
from tests.integration.conftest import Bench

pytestmark = pytest.mark.image


def test_a_classifier_is_the_model_in_it(bench: Bench) -> None:
    shapes = network_shapes("nin", 2).parameters
    arrays = {name: np.full(shape, 1e-3, np.float32) for name, shape in shapes.items()}
    total = len(shapes)
    plain, saved = bench.root / "plain.npz", bench.root / "saved.npz"
    plain.write_bytes(npz_bytes(arrays))
    np.savez_compressed(saved, **{f"predictor/{name}": array for name, array in arrays.items()})
    runs = []
    for path, more in (
        (plain, ""),
        (saved, "; names there begin with predictor/, which is left out"),
    ):
        config = bench.config(path.stem, ranks_per_node=1, initmodel=str(path))
        done = bench.bundle("submit", "--wait", config)
        said = f"bundle: initmodel: {total} of {total} parameters of nin are in {path}{more}"
        assert said in done.stderr.splitlines()
        runs.append(Path(done.stdout.splitlines()[0].partition("run  ")[2]))
    manifests = [json.loads((run / "manifest.json").read_text()) for run in runs]
    assert manifests[0]["identity_digest"] == manifests[1]["identity_digest"]
    bench.bundle("compare", *runs)
    bench.bundle("verify", runs[1])


def test_a_foreign_file_is_refused_before_anything_is_made(bench: Bench) -> None:
    path = bench.root / "m.npz"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    done = bench.bundle("submit", bench.config(initmodel=str(path)), code=2)
    assert done.stderr == (
        f"bundle: initmodel: {path}: is an HDF5 file, as save_hdf5 writes them, expected .npz\n"
        "-> give the model.npz of a run, or a model that chainer.serializers.save_npz wrote, "
        "or leave the key initmodel out\n"
    )
    assert not bench.out.exists()
