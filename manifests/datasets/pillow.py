"""Pillow, as data sets need it: with limits of our own, silent, its reasons kept."""

from __future__ import annotations

import io
import os
import struct
import warnings
from contextlib import contextmanager
from typing import Iterator, List, Optional, Sequence, Tuple

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from container.trouble import Trouble
from manifests.record.keys import PNG_TEXT_LIMIT

# Pillow would warn of many pixels, or refuse them without saying how many there are: whoever opens
# an image looks at its size before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# Colour profiles and notes, which play no part, may be larger than Pillow expects.
PngImagePlugin.MAX_TEXT_CHUNK = PNG_TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PNG_TEXT_LIMIT
# It warns with paths of its own files, without the name of the image, of what changes no pixel.
warnings.filterwarnings("ignore", module="PIL")

#: What Pillow calls any file when it hands it to libtiff.
_PILLOWS_NAME = "tempfile.tif: "
_MOST_WORDS = 1 << 16

#: The first bytes of kinds of image that people have, by Pillow's names.
_MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "PSD": (b"8BPS",),
}


def kind_of(data: bytes) -> str:
    """What kind of image a file says that it is; "" where it is none of those known here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return "AVIF" if data[8:12] == b"avif" else "HEIC"
    return next((kind for kind, starts in _MAGIC.items() if data.startswith(starts)), "")


def reason_of(error: Exception) -> str:
    """What a decoder says; some say nothing but their name."""
    text = str(error)
    return type(error).__name__ if text in ("", "None") else text


@contextmanager
def decoding(path: str) -> Iterator[None]:
    """Raises Trouble where this machine lacks memory for an image: not the image's fault."""
    try:
        yield
    except MemoryError as error:
        raise Trouble(
            f"{path}: there is not enough memory to decode it",
            "free some memory, or ask for fewer --workers",
        ) from error


def open_image(data: bytes, formats: Sequence[str]) -> Tuple[Optional[Image.Image], str]:
    """The image, of which only the header is read, or the problem, as a phrase without subject.

    Raises MemoryError.
    """
    if not data:
        return None, "is empty"
    try:
        return Image.open(io.BytesIO(data), formats=list(formats)), ""
    except MemoryError:
        raise
    except UnidentifiedImageError:
        expected = " or ".join((", ".join(formats[:-1]), formats[-1]))
        kind = kind_of(data)
        if kind in formats:
            return None, f"is a damaged {kind} file: {_refusal(data, kind)}"
        if kind:
            return None, f"is a {kind} file, expected {expected}"
        return None, f"is not an image ({expected})"
    # Plugins raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        kind = kind_of(data) or "image"
        return None, f"is a damaged {kind} file: {reason_of(error)}"


def _refusal(data: bytes, kind: str) -> str:
    """Why the plugin of this kind does not take a file: `Image.open` keeps that to itself."""
    Image.preinit()
    Image.init()
    try:
        Image.OPEN[kind][0](io.BytesIO(data), "")
    except Exception as error:
        ends = isinstance(error.__cause__ or error, (struct.error, IndexError, EOFError))
        return "it ends within its header" if ends else reason_of(error)
    return "its header cannot be read"


def load_problem(image: Image.Image) -> str:
    """Decode an open image; return why that fails, "" when it does not. Raises MemoryError.

    libtiff says what is wrong on standard error, and goes on where it can. TIFF files are for one
    thread at a time: what another one says meanwhile would be lost.
    """
    if image.format != "TIFF":
        return _decoded(image)
    with _heard() as lines:
        problem = _decoded(image)
    faults = [line.replace(_PILLOWS_NAME, "") for line in lines if ": Warning, " not in line]
    if not faults:
        return problem
    return f"{problem} ({faults[0]})" if problem else f"is truncated or damaged: {faults[0]}"


@contextmanager
def _heard() -> Iterator[List[str]]:
    """What libraries write to standard error meanwhile, as lines, once the block has ended."""
    lines: List[str] = []
    with os.fdopen(os.memfd_create("words"), "r+b") as stream:
        kept = os.dup(2)
        try:
            os.dup2(stream.fileno(), 2)
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        stream.seek(0)
        text = stream.read(_MOST_WORDS).decode("utf-8", "replace")
        lines += [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]


def _decoded(image: Image.Image) -> str:
    try:
        image.load()
    except MemoryError:
        raise
    # Decoders raise OSError, SyntaxError, ValueError, struct.error and others on damaged files.
    except Exception as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        return f"is truncated or damaged: {reason_of(error)}"
    return ""
