"""Arrays in NumPy's .npy form as people give them: the header first, then as much as it announces.

NumPy reads any file of this form, and makes room for whatever size its header gives.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 1 << 20
_HEAD = 8


class NotPlain(Exception):
    """Why a stream holds no plain array: a phrase that follows "is damaged: "."""


class Header(NamedTuple):
    shape: Tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * int(self.dtype.itemsize)


def read_header(stream: IO[bytes]) -> Header:
    """The header of a .npy stream. Raises NotPlain, and what the stream itself raises."""
    import numpy as np

    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return Header(*_in_order(np.lib.format.read_array_header_1_0(stream)))
        if version in ((2, 0), (3, 0)):
            return Header(*_in_order(np.lib.format.read_array_header_2_0(stream)))
    except (OSError, EOFError, MemoryError):
        raise
    # It evaluates text: a damaged one gives any error of Python's own parser.
    except Exception as error:
        raise NotPlain(f"its header cannot be read: {str(error)[:200]}") from error
    raise NotPlain(f"it has version {version[0]}.{version[1]} of the .npy format")


def _in_order(read: Any) -> Tuple[Tuple[int, ...], np.dtype[Any], bool]:
    shape, fortran_order, dtype = read
    if any(side < 0 for side in shape):
        raise ValueError("negative dimensions are not allowed")
    return shape, dtype, fortran_order


def read_values(stream: IO[bytes], header: Header) -> np.ndarray[Any, Any]:
    """The array behind its header, which is of a size that the caller expects.

    Raises NotPlain where values are missing or pickled, and what the stream itself raises.
    """
    import numpy as np

    if header.dtype.hasobject:
        raise NotPlain("it is pickled")
    data = stream.read(header.size)
    if len(data) < header.size:
        raise NotPlain(f"it ends after {len(data)} of {header.size} bytes")
    flat = np.frombuffer(data, header.dtype) if header.size else np.empty(0, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def read_rest(stream: IO[bytes]) -> None:
    """To the end, where a zip file's member is held against its checksum."""
    while stream.read(_AT_ONCE):
        pass


def file_bytes(path: Path, *, most: Optional[int] = None, begins: bytes = b"") -> bytes:
    """The bytes of a regular file; the first few only where it begins otherwise than ``begins``.

    Raises OSError, as for others, where it is no such file or has more than ``most`` bytes: a pipe
    would never end, and a packed file would fill the memory.
    """
    # Opening a pipe would wait for somebody who writes into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if most is not None and status.st_size > most:
            size = f"it has {status.st_size / 1e6:.0f} MB, expected at most {most / 1e6:.0f}"
            raise OSError(errno.EFBIG, size)
        head = stream.read(_HEAD)
        return head + stream.read() if head.startswith(begins) else head
