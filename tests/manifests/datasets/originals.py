"""Original images of every kind that data sets contain, made with Pillow."""

from __future__ import annotations

import io
from typing import Any, Tuple

import numpy as np
from PIL import Image, ImageChops

#: A colour that no mistaken conversion leaves as it is: red high, green middle, blue low.
COLOUR = (200, 120, 40)
#: Its grey value, as ITU-R 601 weighs the colours.
GREY = 135


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def plain(size: Tuple[int, int] = (300, 260)) -> Image.Image:
    return Image.new("RGB", size, COLOUR)


def ycck() -> bytes:
    """A JPEG of four components as Adobe writes them: Y, Cb, Cr of the inverted ink, and K.

    Pillow writes the components as they are and says CMYK; one byte says YCCK instead.
    """
    cyan, magenta, yellow, key = plain().convert("CMYK").split()
    inks = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    planes = (*(ImageChops.invert(plane) for plane in inks), key)
    data = bytearray(encoded(Image.merge("CMYK", planes), "JPEG", quality=95))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    return bytes(data)


def palette_with_transparency() -> bytes:
    """A palette whose entries are transparent to several degrees."""
    image = Image.new("P", (300, 260), 1)
    image.putpalette([9, 9, 9, *COLOUR, 99, 99, 99])
    return encoded(image, "PNG", transparency=bytes([10, 100, 200]))


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray(np.full((260, 300), GREY * 257, np.uint16)), "PNG")


def red_and_blue(size: Tuple[int, int], **options: Any) -> bytes:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, size[0], size[1]))
    return encoded(image, "JPEG", quality=95, **options)
