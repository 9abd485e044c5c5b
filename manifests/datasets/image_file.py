"""One stored image: is it what the trainer expects, what are its pixels, and what is its digest."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Optional, Tuple

from container.trouble import Trouble
from manifests.datasets.digest_cache import stamp_of
from manifests.datasets.image_folder import Problem
from manifests.record.keys import IMAGE_SIDE

if TYPE_CHECKING:  # images that are remembered need neither
    import numpy as np
    from PIL import Image

#: Kinds of image file that both the host and the trainer can read.
FORMATS = ("JPEG", "PNG")

#: Reading fails with these because of this machine, whatever the file.
_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def decode_problem(data: bytes) -> Problem:
    """Why these bytes are no usable image; empty when they are one.

    The whole file is decoded (JPEG at an eighth of its size, which reads all of it), because
    only that finds a damaged one. Raises MemoryError.
    """
    from manifests.datasets.jpeg_damage import jpeg_damage
    from manifests.datasets.pillow import load_problem

    image, problem = _opened(data)
    if image is None:
        return problem
    with image:
        damage = jpeg_damage(data) if image.format != "PNG" else None
        return load_problem(image) if damage is None else damage


def decode_pixels(data: bytes) -> Tuple[Optional[np.ndarray], Problem]:
    """The pixels of a stored image as the trainer sees them: uint8 (256, 256, 3), RGB.

    An EXIF orientation is not applied. None and the problem where `decode_problem` finds one.
    Raises MemoryError.
    """
    import numpy as np

    from manifests.datasets.jpeg_damage import jpeg_damage
    from manifests.datasets.pillow import load_problem

    image, problem = _opened(data)
    if image is None:
        return None, problem
    with image:
        problem = (image.format != "PNG" and jpeg_damage(data)) or load_problem(image)
        return (None, problem) if problem else (np.asarray(image.convert("RGB")), "")


def _opened(data: bytes) -> Tuple[Optional[Image.Image], Problem]:
    """The image with what its header says checked, none of it decoded yet."""
    from manifests.datasets.pillow import open_image

    image, problem = open_image(data, FORMATS)
    if image is None:
        return None, problem
    if image.size != (IMAGE_SIDE, IMAGE_SIDE):
        width, height = image.size
        problem = f"has {width}x{height} pixels, expected {IMAGE_SIDE}x{IMAGE_SIDE}"
    elif image.mode.startswith("I"):
        # Pillow's conversion to RGB makes 255 of everything above it.
        problem = "has 16 bits per pixel, of which training would see white; expected 8"
    if not problem:
        return image, ""
    image.close()
    return None, problem


def read_file(path: str) -> Tuple[bytes, Optional[os.stat_result], Problem]:
    """A file's bytes and its status, or the problem; a file that changes meanwhile is one.

    Raises Trouble where this machine can open no more files or has no memory for it.
    """
    try:
        with open(path, "rb") as stream:
            before = os.fstat(stream.fileno())
            data = stream.read()
            after = os.fstat(stream.fileno())
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise Trouble(
                f"{path}: cannot be read: {error.strerror}",
                "this is not the file's fault: see to the limits of this machine (ulimit -a), or "
                "ask for fewer --workers",
            ) from error
        return b"", None, f"cannot be read: {error.strerror}"
    if stamp_of(before) != stamp_of(after) or len(data) != before.st_size:
        return b"", None, "changed while it was being read"
    return data, before, ""


def read_digest(path: str, *, decode: bool) -> Tuple[str, Problem]:
    """Return (sha256, "") of a file, or ("", what is wrong); ``decode`` checks the image too.

    Raises Trouble where this machine lacks what that takes.
    """
    data, _, problem = read_file(path)
    if decode and not problem:
        from manifests.datasets.pillow import decoding

        with decoding(path):
            problem = decode_problem(data)
    return ("", problem) if problem else (hashlib.sha256(data).hexdigest(), "")
