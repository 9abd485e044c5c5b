"""One checkpoint: the arrays of a run and its head, written whole and read back in place."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, Collection, Dict, Mapping

import chainer
import numpy as np
import numpy.typing as npt

from manifests.record.checkpoint import HEAD, Damaged, Head, read_entries
from trainer.files import json_bytes, replacing
from trainer.initial import named_arrays
from trainer.optimizers import Optimizer
from trainer.statistics import RankStatistics

Array = npt.NDArray[Any]


def shared_arrays(model: chainer.Link, optimizer: Optimizer) -> Dict[str, Array]:
    """The live arrays that are the same on every rank, by their names in the file."""
    groups = {"parameters": named_arrays(model), "optimizer": optimizer.named_state()}
    return {
        f"{group}{name}.npy": array
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }


def own_arrays(statistics: RankStatistics, rank: int) -> Dict[str, Array]:
    """The live arrays that a rank of this process has for itself, by their names in the file."""
    return {own_name(rank, name): x for name, x in statistics.named(rank).items()}


def own_name(rank: int, name: str) -> str:
    """The name in the file of one of a rank's statistics."""
    return f"statistics/{rank:05d}{name}.npy"


def write_checkpoint(path: Path, head: Head, arrays: Mapping[str, Array]) -> Head:
    """Write ``path`` whole; return the head with its ``entries``. Raises TrainerError.

    Arrays pass one at a time, so no more memory is needed than for the largest of them.
    """
    entries: Dict[str, str] = {}
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            data = npy_bytes(array)
            entries[name] = hashlib.sha256(data).hexdigest()
            archive.writestr(name, data)
        whole = head.model_copy(update={"entries": entries})
        archive.writestr(HEAD, json_bytes(whole.model_dump(mode="json")))
    return whole


def npy_bytes(array: Array) -> bytes:
    stream = io.BytesIO()
    host = chainer.backends.cuda.to_cpu(array)
    np.lib.format.write_array(stream, host, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def fill_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Copy the saved values into ``arrays``, in place.

    Raises Damaged when the file is not whole or has other arrays than these, OSError when it
    cannot be read.
    """
    for name, data in read_entries(path, wanted=arrays.keys()):
        saved = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        target = arrays[name]
        if (saved.shape, saved.dtype) != (target.shape, target.dtype):
            raise Damaged(
                f"{name} is {saved.dtype}{list(saved.shape)}, "
                f"the run has {target.dtype}{list(target.shape)}"
            )
        target[...] = chainer.backend.get_array_module(target).asarray(saved)


def unfit(head: Head, names: Collection[str]) -> str:
    """The first array that file and run do not have in common, as a sentence; "" if none."""
    odd = sorted(head.entries.keys() ^ set(names))
    if not odd:
        return ""
    return f"{odd[0]} is {'not in the run' if odd[0] in head.entries else 'missing'}"
