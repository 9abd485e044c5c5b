"""The model file to start from: looked at before it is copied, and what of it fits the network.

A file that ``chainer.serializers.save_npz`` wrote holds a network under a prefix where something
larger was saved: ``predictor/`` of a Classifier, ``updater/model:main/`` of a trainer's snapshot.
The run gets the network's arrays without it, and nothing else of such a file; any other file is
copied as it is.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from container.trouble import Trouble
from manifests.datasets.npy_file import (
    Header,
    file_bytes,
    read_header,
    read_rest,
    read_values,
)
from manifests.datasets.shown import capped
from manifests.record.network_shapes import NetworkShapes, network_shapes
from manifests.record.npz_file import npz_bytes

NEXT_STEP = (
    "give the model.npz of a run, or a model that chainer.serializers.save_npz wrote, "
    "or leave the key initmodel out"
)
#: What is shown of names or sentences in one message.
_SHOWN = 3
#: An array that the network does not take is read up to the size of the network with numbers of 8
#: bytes, or this one.
_FLOAT64 = 8
_LEAST = 1 << 20

#: What other files begin with.
_KINDS = (
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as save_hdf5 writes them"),
    (b"\x93NUMPY", "is a single array (.npy)"),
    (b"\x80", "is a pickle"),
    (b"\x1f\x8b", "is compressed by gzip"),
)


@dataclass(frozen=True)
class InitModel:
    """``data`` is what the run gets. ``note`` says what fits, ``few`` whether that is little."""

    data: bytes
    sha256: str
    note: str
    few: bool


class _Unreadable(Exception):
    """What is wrong with a model file: a sentence without its subject."""


def read_initmodel(path: Path, arch: str, nclasses: int) -> InitModel:
    """Raises Trouble with what is wrong with the file, and where no parameter of it fits."""
    try:
        data = file_bytes(path, begins=b"PK")
    except OSError as error:
        raise Trouble(
            f"initmodel: {path}: cannot be read: {error.strerror}",
            "give the path of a model file (.npz), or leave the key out",
        ) from error
    try:
        found = _look(data, network_shapes(arch, nclasses))
    except MemoryError as error:
        raise Trouble(
            f"initmodel: {path}: there is not enough memory to read it", "free some memory"
        ) from error
    except _Unreadable as fault:
        raise Trouble(f"initmodel: {path}: {fault}", NEXT_STEP) from fault
    problems = found.problems or found.too_little(arch)
    if problems:
        where = f"initmodel: {path}"
        raise Trouble(capped([f"{where}: {text}" for text in problems], where), NEXT_STEP)
    kept = data if found.plain else npz_bytes(found.arrays)
    return InitModel(kept, hashlib.sha256(kept).hexdigest(), found.note(path, arch), found.few)


@dataclass
class _Found:
    """``arrays`` are those that the network knows by name; ``plain`` is false where the file has
    more than plain arrays under the network's own names."""

    total: int
    names: List[str]
    prefix: str
    plain: bool = False
    fitted: int = 0
    arrays: Dict[str, Any] = field(default_factory=dict)
    misfits: List[str] = field(default_factory=list)
    absent: List[str] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)
    example: str = ""

    @property
    def few(self) -> bool:
        return 2 * self.fitted < self.total

    def too_little(self, arch: str) -> List[str]:
        """Nothing, or few under a prefix: that it was the network's own was a guess."""
        if self.fitted and self.prefix and self.few:
            return [
                f"only {self.fitted} of the {self.total} parameters of {arch} fit, under names "
                f"that begin with {self.prefix}: this is not a whole {arch}"
            ]
        if self.fitted:
            return []
        if self.misfits:
            return [f"none of the {self.total} parameters of {arch} fits: {_some(self.misfits)}"]
        return [
            f"holds none of the {self.total} parameters of {arch}, such as {self.example}; "
            f"it holds {_some(self.names) or 'nothing'}"
        ]

    def note(self, path: Path, arch: str) -> str:
        parts = [f"initmodel: {self.fitted} of {self.total} parameters of {arch} are in {path}"]
        if self.prefix:
            parts.append(f"names there begin with {self.prefix}, which is left out")
        parts += [f"the network's own values stay where {_some(self.misfits)}"] * bool(self.misfits)
        parts += [f"it lacks {_some(self.absent)}"] * bool(self.absent)
        return "; ".join(parts)


def _some(texts: List[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _look(data: bytes, network: NetworkShapes) -> _Found:
    archive = _opened(data)
    members = {
        info.filename[: -len(".npy")]: info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
    prefix = prefix_of(list(members), network)
    known = {**network.parameters, **network.statistics}
    most = max(_LEAST, _FLOAT64 * sum(math.prod(shape) for shape in known.values()))
    found = _Found(len(network.parameters), sorted(members), prefix)
    found.example = next(iter(network.parameters))
    for name, shape in known.items():
        info = members.pop(prefix + name, None)
        if info is None:
            found.absent.append(name)
            continue
        array, fault, problem = _array(archive, info, shape, most)
        if problem:
            found.problems.append(f"{prefix}{name} {problem}")
        if fault:
            found.misfits.append(f"{name} is {fault}")
        if array is not None:
            found.arrays[name] = array
            found.fitted += not fault and name in network.parameters
    taken = len(found.arrays) == len(found.names) - len(members) == len(known) - len(found.absent)
    others = len(found.names) < len(archive.infolist())
    found.plain = (
        taken
        and not (prefix or others)
        and all(_is_plain(archive, info, most) for info in members.values())
    )
    return found


def _opened(data: bytes) -> zipfile.ZipFile:
    if not data:
        raise _Unreadable("is empty")
    if not data.startswith(b"PK"):
        kinds = [kind for start, kind in _KINDS if data.startswith(start)]
        raise _Unreadable(f"{kinds[0]}, expected .npz" if kinds else "is not an .npz file")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # of a damaged list of contents: a dozen kinds
        raise _Unreadable("is damaged or was cut off: its list of contents is missing") from error
    if any(name.endswith("data.pkl") for name in archive.namelist()):
        raise _Unreadable("is a file of PyTorch, expected .npz")
    return archive


def prefix_of(names: List[str], network: NetworkShapes) -> str:
    """What stands before the network's names in the file: that under which most parameters are."""
    counted: Counter[str] = Counter()
    for name in names:
        starts = [0, *(place + 1 for place, letter in enumerate(name) if letter == "/")]
        for start in starts:
            if name[start:] in network.parameters:
                counted[name[:start]] += 1
    return min(counted, key=lambda prefix: (-counted[prefix], len(prefix), prefix), default="")


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: Tuple[int, ...], most: int
) -> Tuple[Optional[Any], str, str]:
    """The array, how it does not fit the network, and what makes the whole file unusable.

    One that does not fit is not read where it has more than ``most`` bytes.
    """
    import numpy as np

    try:
        with archive.open(info) as stream:
            header = read_header(stream)
            if header.dtype.hasobject:
                return None, "", "is pickled data, which could run any program when it is read"
            fault = _misfit(header, shape)
            if fault and max(header.size, info.file_size) > most:
                return None, fault, ""
            array = read_values(stream, header)
            read_rest(stream)
    except MemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in another way
        return None, "", f"cannot be read: {error}"
    except Exception as error:  # each way of compressing has errors of its own
        return None, "", f"is damaged: {error}"
    if fault:
        return array, fault, ""
    with np.errstate(over="ignore"):
        odd = int((~np.isfinite(array.astype(np.float32))).sum())
    if odd:
        numbers = f"{odd} of {array.size} values"
        return array, "", f"holds {numbers} that are not finite as float32"
    return array, "", ""


def _misfit(header: Header, shape: Tuple[int, ...]) -> str:
    if header.dtype.kind not in "fiu":
        return f"{header.dtype} in the file, which is not a real number"
    if header.shape != shape:
        return f"{header.shape} in the file, {shape} in the network"
    return ""


def _is_plain(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bool:
    """Whether the trainer, which reads all members, can read one that is not the network's."""
    if info.file_size > most:
        return False
    try:
        with archive.open(info) as stream:
            header = read_header(stream)
            read_values(stream, header)
            read_rest(stream)
    except Exception:  # whatever it is, the trainer is not to meet it
        return False
    return True
