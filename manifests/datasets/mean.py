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

from manifests.datasets.npy_file import Header, NotPlain, file_bytes, read_header, read_values
from manifests.record.keys import IMAGE_SIDE
from manifests.record.schema import ArrayIdentity

if TYPE_CHECKING:
    import numpy as np

    Values = numbers[float]

SHAPE = (3, IMAGE_SIDE, IMAGE_SIDE)
#: A mean image has 0.8 MB; what has more than this is another kind of file.
MOST_BYTES = 100 * 10**6
#: Photographs have more red than blue: ImageNet 124, 117 and 104. So much more blue is said.
_BLUISH = 10

#: A file of this shape and type as numpy.save writes it (the .npy format, version 1.0).
PLAIN = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 256, 256\), \} *\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class MeanImage:
    """``data`` is the whole file; ``identity.sha256`` is that of ``data``. ``warnings`` say what is
    odd about its values."""

    data: bytes
    identity: ArrayIdentity
    warnings: List[str]


def _plain_values(data: bytes) -> Optional[Values]:
    """The values of a good mean image, read without NumPy: importing that takes longer than all of
    this. None where it takes NumPy to tell."""
    head = PLAIN.match(data)
    if head is None or sys.byteorder != "little":
        return None
    whole = int.from_bytes(head["length"], "little") == head.end() - 10
    if not whole or len(data) - head.end() != 4 * math.prod(SHAPE):
        return None
    return numbers("f", data[head.end() :])


def _value_problem(values: Values, low: float, high: float) -> str:
    # Added up in double precision, which so many finite numbers of single precision cannot leave.
    if not math.isfinite(sum(values)):
        return "holds values that are not finite"
    if low < 0 or high > 255:
        return f"holds values from {low:g} to {high:g}, expected 0 to 255, as pixels have"
    return ""


def _oddities(values: Values, low: float, high: float) -> List[str]:
    """What a mean image may be, but hardly one of photographs as the trainer reads them."""
    if high <= 1:
        return [
            f"holds values from {low:g} to {high:g}; pixels have 0 to 255, and the trainer "
            "subtracts it from them as it is"
        ]
    plane = len(values) // 3
    red, green, blue = (sum(values[plane * at : plane * (at + 1)]) / plane for at in range(3))
    if red < green < blue and blue - red > _BLUISH:
        return [
            f"has the channel means {red:.0f}, {green:.0f}, {blue:.0f}: more blue than red, as a "
            "mean image in BGR order has; the trainer takes RGB"
        ]
    return []


def _header_problem(header: Header) -> str:
    import numpy as np

    if header.dtype.hasobject:
        return "is damaged or holds no plain array: it is pickled"
    if header.shape != SHAPE:
        return f"has shape {header.shape}, expected {SHAPE} (channel, row, column)"
    if header.dtype != np.dtype("<f4"):
        return (
            f"has dtype {header.dtype.str}, expected <f4; convert it with "
            "numpy.save(path, numpy.load(path).astype('<f4'))"
        )
    return ""


def _values(data: bytes) -> Tuple[Optional[Values], str]:
    """The values in C order, or what is wrong with the file."""
    if not data.startswith(b"\x93NUMPY"):
        return None, "is not an .npy file"
    values = _plain_values(data)
    if values is None:
        stream = io.BytesIO(data)
        try:
            header = read_header(stream)
            problem = _header_problem(header)
            if problem:
                return None, problem
            array = read_values(stream, header)
        except (NotPlain, EOFError, OSError) as error:
            return None, f"is damaged or holds no plain array: {error}"
        values = numbers("f", array.astype("=f4").tobytes())
    return values, ""


def _identity(data: bytes) -> ArrayIdentity:
    sha256 = hashlib.sha256(data).hexdigest()
    return ArrayIdentity(sha256=sha256, shape=list(SHAPE), dtype="float32")


def scan_mean(path: Path) -> Tuple[Optional[MeanImage], List[str]]:
    """Read a mean image; return it or its problems."""
    try:
        data = file_bytes(path, most=MOST_BYTES)
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}"]
    values, problem = _values(data)
    if values is None:
        return None, [f"{path}: {problem}"]
    low, high = min(values), max(values)  # each takes as long as all of the rest
    problem = _value_problem(values, low, high)
    if problem:
        return None, [f"{path}: {problem}"]
    warnings = [f"{path}: {oddity}" for oddity in _oddities(values, low, high)]
    return MeanImage(data, _identity(data), warnings), []


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
