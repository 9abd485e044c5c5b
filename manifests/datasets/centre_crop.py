"""The bytes of an original image -> those of the stored one: 256x256 pixels, RGB, JPEG.

The centred square of the original, scaled to 256x256 in one step by Pillow's BILINEAR filter, whose
support grows with the factor, so that nothing aliases. That is: short side to 256, then the centre,
without rounding the long side to whole pixels.

Nothing but the bytes of the original and the version of Pillow (with its libjpeg) decides the
result. The JPEG has quality 90 and keeps its colours at full resolution (4:4:4): decoders differ in
how they scale reduced colours up again, and so would the pixels that are trained on.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import numpy as np
from PIL import Image, features

from manifests.datasets.image_folder import Problem
from manifests.datasets.jpeg_damage import jpeg_damage
from manifests.datasets.pillow import kind_of, load_problem, open_image
from manifests.record.keys import IMAGE_SIDE

#: To be raised when other bytes would come out for the same original and Pillow.
FORMAT = 1
QUALITY = 90

#: Kinds of image file that an original may be, whatever its name says: ImageNet has a PNG file
#: with a JPEG's name. Of several frames the first is taken.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")

#: 400 MB of RGB pixels, for each worker.
MOST_PIXELS = 2**27

_NOTE = re.compile(rb"bundle crop (\d+) of ([0-9a-f]{64}) (\d+) bytes")


@dataclass(frozen=True)
class Origin:
    """What a stored image says of its original, in its JPEG comment."""

    sha256: str
    size: int

    def note(self) -> bytes:
        return f"bundle crop {FORMAT} of {self.sha256} {self.size} bytes".encode()


def origin_of(data: bytes) -> Origin:
    return Origin(hashlib.sha256(data).hexdigest(), len(data))


def read_note(head: bytes) -> Optional[Origin]:
    """The note in the first bytes of a stored image; None for any other file."""
    found = _NOTE.search(head)
    if found is None or int(found[1]) != FORMAT:
        return None
    return Origin(found[2].decode(), int(found[3]))


def settings() -> Dict[str, Any]:
    """All that decides the bytes besides the original."""
    return {
        "format": FORMAT,
        "side": IMAGE_SIDE,
        "filter": "bilinear",
        "jpeg_quality": QUALITY,
        "jpeg_subsampling": "4:4:4",
        "pillow": features.version("pil"),
        "libjpeg": features.version("jpg"),
        "libjpeg_turbo": features.version("libjpeg_turbo"),
    }


def centre_crop(data: bytes, origin: Origin) -> Tuple[bytes, Problem]:
    """Return the stored image, or what is wrong with the original. Raises MemoryError."""
    opened, problem = open_image(data, FORMATS)
    if opened is None:
        return b"", problem
    width, height = opened.size
    if width * height > MOST_PIXELS:
        return b"", f"has {width}x{height} pixels, more than {MOST_PIXELS // 10**6} million"
    problem = load_problem(opened) or (kind_of(data) == "JPEG" and jpeg_damage(data)) or ""
    if problem:
        return b"", problem
    if opened.mode in ("I", "F"):
        return b"", f"has pixels of kind {opened.mode}, which have no defined white"
    try:
        image = _rgb(opened)
    except ValueError:
        return b"", f"has pixels of kind {opened.mode}, which cannot be made RGB"
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    square = image.resize(
        (IMAGE_SIDE, IMAGE_SIDE),
        Image.Resampling.BILINEAR,
        box=(left, top, left + short, top + short),
    )
    stream = io.BytesIO()
    square.save(
        stream, "JPEG", quality=QUALITY, subsampling=0, optimize=False, comment=origin.note()
    )
    return stream.getvalue(), ""


def _rgb(image: Image.Image) -> Image.Image:
    """The pixels as the trainer converts them: no transparency, no colour profile, not turned.

    An EXIF orientation is not applied, as in the trainer and in Chainer's own dataset classes.
    """
    image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        # Pillow's conversion makes 255 of everything above it.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
