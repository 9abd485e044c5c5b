"""Model files: Chainer's npz form, with bytes that depend on its contents alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import chainer
import numpy as np
import numpy.typing as npt

from manifests.record.npz_file import npz_bytes
from trainer.initial import named_arrays
from trainer.statistics import named_statistics
from trainer.trouble import TrainerError

#: Sentences of a message about what does not fit.
SHOWN = 5


def model_bytes(model: chainer.Link) -> bytes:
    """What ``chainer.serializers.load_npz`` reads; the bytes depend on the arrays alone."""
    return npz_bytes(_entries(model))


def _entries(model: chainer.Link) -> dict[str, Any]:
    """Name in the file -> value: parameters and what else the links keep."""
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    return dict(serializer.target)


def load_initial(model: chainer.Link, path: Path) -> List[str]:
    """Copy what fits from a model file, parameters and running statistics; return a sentence for
    each that did not.

    Raises TrainerError when the file is not a model or nothing in it fits.
    """
    stored = _read(path)
    report = []
    fitted = 0
    parameters = named_arrays(model)
    for path_in_model, target in {**parameters, **named_statistics(model)}.items():
        name = path_in_model.lstrip("/")
        array = stored.get(name)
        drawn = path_in_model in parameters
        kept = "keeps its drawn value" if drawn else "keeps its first value"
        if array is None:
            report.append(f"{name} is not in the file and {kept}")
        elif array.shape != target.shape:
            report.append(
                f"{name} is {array.shape} in the file, {target.shape} in the network, and {kept}"
            )
        elif array.dtype.kind not in "fiu":
            report.append(f"{name} is {array.dtype} in the file, no real number, and {kept}")
        else:
            target[...] = array
            fitted += drawn
    unknown = sorted(stored.keys() - _entries(model).keys())
    report.extend(f"{name} of the file is not in the network" for name in unknown)
    if not fitted:
        raise TrainerError(
            f"{path}: no parameter fits the network: {'; '.join(report[:SHOWN])}"
            + (f"; and {len(report) - SHOWN} more" if len(report) > SHOWN else ""),
            "give a model file of the same arch, or leave initmodel out",
        )
    return report


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # NumPy and zipfile raise OSError, ValueError, KeyError and BadZipFile for a broken file.
    except Exception as error:
        raise TrainerError(
            f"{path}: is not a model file: {error}", "give a model.npz that a run has written"
        ) from error
