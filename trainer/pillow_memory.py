"""The pixels of a decoded image where Pillow has them: seen in place, not copied."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image


class _Array(ctypes.Structure):
    """``struct ArrowArray`` of the Arrow C data interface, up to what is used here."""


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
]

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]

#: Bytes of a pixel in Pillow's memory: red, green, blue and one that is not used.
PIXEL = 4


@contextmanager
def planes_of(image: Image.Image) -> Iterator[npt.NDArray[np.uint8]]:
    """uint8 (3, rows, columns) of an image of mode RGB; gone when the block ends.

    Pillow tells where its memory is by the Arrow C data interface: a list of PIXEL bytes for each
    pixel, whose bytes are the only child's second buffer. Where it does not, from several pieces
    or in a version before 11.2, the pixels are copied.
    """
    width, height = image.size
    try:
        _, capsule = image.__arrow_c_array__()
    except (AttributeError, ValueError):
        yield np.asarray(image).transpose(2, 0, 1)
        return
    pixels = _Array.from_address(_pointer_of(capsule, b"arrow_array"))
    content = pixels.children[0].contents
    data = (ctypes.c_uint8 * (width * height * PIXEL)).from_address(content.buffers[1])
    whole: npt.NDArray[np.uint8] = np.ctypeslib.as_array(data).reshape(height, width, PIXEL)
    yield whole[:, :, :3].transpose(2, 0, 1)
