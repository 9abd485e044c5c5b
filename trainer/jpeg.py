"""JPEG files of the usual kind, decoded by Pillow's decoder without a look at what is not pixels.

Pillow reads all of a header in Python, which takes a tenth of the time of an image of 256x256.
"""

from __future__ import annotations

from typing import Any, Optional

from PIL import Image

from manifests.record.keys import IMAGE_SIDE

#: Pillow's own code in C.
_core: Any = Image.core  # type: ignore[attr-defined]

_START, _MARKER = b"\xff\xd8", 0xFF
#: Baseline, extended and progressive files with Huffman codes (ITU-T T.81, table B.1).
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_SCAN = 0xDA
#: Tables, restart intervals, comments, and what applications write.
_OTHERS = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
#: 8 bits, IMAGE_SIDE rows and columns, three components.
_FRAME = b"\x08" + 2 * IMAGE_SIDE.to_bytes(2, "big") + b"\x03"
_FRAME_AT, _SEVERAL_IMAGES = 4, b"MPF\0"
#: What a decoder of Pillow says when it has all lines and no complaint.
_DONE = (-1, 0)


def is_usual(data: bytes) -> bool:
    """Whether these bytes begin like a JPEG file of one image of three components, 8 bits each,
    and IMAGE_SIDE x IMAGE_SIDE pixels, without anything unusual before its first scan."""
    if not data.startswith(_START):
        return False
    frames, at = 0, len(_START)
    while len(data) >= at + 4 and data[at] == _MARKER:
        kind, content = data[at + 1], at + _FRAME_AT
        if kind == _SCAN:
            return frames == 1
        if kind in _FRAMES:
            frames += 1
            if not data.startswith(_FRAME, content):
                return False
        elif kind not in _OTHERS or data.startswith(_SEVERAL_IMAGES, content):
            return False
        at += 2 + int.from_bytes(data[at + 2 : content], "big")
    return False


def decoded(data: bytes) -> Optional[Image.Image]:
    """The pixels that Pillow gives for these bytes, mode RGB; None for a file that is not usual or
    has a fault, and with a Pillow that works in another way: ask Pillow for the image then."""
    if not is_usual(data):
        return None
    try:
        pixels = _core.new("RGB", (IMAGE_SIDE, IMAGE_SIDE))
        decoder = _core.jpeg_decoder("RGB", "RGB", "")
        decoder.setimage(pixels, (0, 0, IMAGE_SIDE, IMAGE_SIDE))
        try:
            end = decoder.decode(data)
        finally:
            decoder.cleanup()
        return Image.Image()._new(pixels) if end == _DONE else None
    except (AttributeError, TypeError, ValueError, OSError):
        return None
