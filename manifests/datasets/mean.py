"""The mean image: a .npy file, float32, (3, 256, 256), RGB order, values 0 to 255."""

from __future__ import annotations

import hashlib
import io
import math
import re
import sys
from array import array as numbers
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Tuple

from manifests.record.schema import IMAGE_SIDE, ArrayIdentity

if TYPE_CHECKING:
    import numpy as np

SHAPE = (3, IMAGE_SIDE, IMAGE_SIDE)

#: A file of this shape and type as numpy.save writes it (the .npy format, version 1.0).
PLAIN = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 256, 256\), \} *\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class MeanImage:
    """``data`` is the whole file; ``identity.sha256`` is that of ``data``."""

    data: bytes
    identity: ArrayIdentity


def is_plainly_good(data: bytes) -> bool:
    """Whether these are the bytes of a good mean image, told without NumPy: importing that takes
    longer than all of this. False where it takes NumPy to tell."""
    head = PLAIN.match(data)
    if head is None or sys.byteorder != "little":
        return False
    whole = int.from_bytes(head["length"], "little") == head.end() - 10
    if not whole or len(data) - head.end() != 4 * math.prod(SHAPE):
        return False
    # Added up in double precision, which so many finite numbers of single precision cannot leave.
    return math.isfinite(sum(numbers("f", data[head.end() :])))


def _array_problem(array: np.ndarray) -> str:
    import numpy as np

    if array.shape != SHAPE:
        return f"has shape {array.shape}, expected {SHAPE} (channel, row, column)"
    if array.dtype != np.dtype("<f4"):
        return (
            f"has dtype {array.dtype.str}, expected <f4; convert it with "
            "numpy.save(path, numpy.load(path).astype('<f4'))"
        )
    if not np.isfinite(array).all():
        return "holds values that are not finite"
    return ""


def parse_mean(data: bytes) -> Tuple[Optional[ArrayIdentity], str]:
    """Return the identity of a mean image, or what is wrong with it."""
    if not data.startswith(b"\x93NUMPY"):
        return None, "is no .npy file"
    if is_plainly_good(data):
        return _identity(data), ""
    import numpy as np

    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        return None, f"is damaged or holds no plain array: {error}"
    problem = _array_problem(array)
    if problem:
        return None, problem
    return _identity(data), ""


def _identity(data: bytes) -> ArrayIdentity:
    sha256 = hashlib.sha256(data).hexdigest()
    return ArrayIdentity(sha256=sha256, shape=list(SHAPE), dtype="float32")


def scan_mean(path: Path) -> Tuple[Optional[MeanImage], List[str]]:
    """Read a mean image; return it or its problems."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}"]
    identity, problem = parse_mean(data)
    if identity is None:
        return None, [f"{path}: {problem}"]
    return MeanImage(data, identity), []


def mean_bytes(total: np.ndarray, count: int) -> bytes:
    """The .npy file of a mean image: ``total`` is the sum of ``count`` images, int64, (row,
    column, channel). The quotient is taken in float64 and rounded to float32 once."""
    import numpy as np

    mean = (total / count).astype("<f4").transpose(2, 0, 1)
    stream = io.BytesIO()
    np.lib.format.write_array(
        stream, np.ascontiguousarray(mean), version=(1, 0), allow_pickle=False
    )
    return stream.getvalue()
