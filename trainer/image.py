"""Image files: checked against their sha256, decoded to RGB, scaled when the network is small."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from manifests.record.alteration import was_altered
from manifests.record.keys import IMAGE_SIDE, PNG_TEXT_LIMIT
from trainer import jpeg
from trainer.trouble import TrainerError

# Colour profiles and notes, which play no part, may be larger than Pillow expects.
PngImagePlugin.MAX_TEXT_CHUNK = PNG_TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PNG_TEXT_LIMIT
# It warns with paths of its own files, without the name of the image, of what changes no pixel.
warnings.filterwarnings("ignore", module="PIL")


def read_bytes(path: Path, what: str) -> bytes:
    """Raises TrainerError when the file is missing or unreadable; ``what`` names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrainerError(
            f"{what}: cannot be read: {error.strerror or error}",
            f"check {path} and that its folder is bound into the container",
        ) from error


def check_sha256(data: bytes, expected: str, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise TrainerError(
            f"{what}: {was_altered(found, expected)}",
            "restore the image, or submit a new run with the images as they are now",
        )


def decode(data: bytes, what: str) -> Image.Image:
    """Return the image in mode RGB, IMAGE_SIDE x IMAGE_SIDE; grey, CMYK, palette are converted.

    An EXIF orientation is not applied, as in Chainer's own dataset classes.
    Raises TrainerError when the bytes are no image, an incomplete one, or of another size, and
    when there is not enough memory.
    """
    try:
        return _rgb(data, what)
    except MemoryError as error:
        raise TrainerError(
            f"{what}: there is not enough memory to decode it",
            "this is not the image's fault: ask for more memory per node, or for fewer loaders "
            "(loaderjob), then submit a new run",
        ) from error


def _rgb(data: bytes, what: str) -> Image.Image:
    usual = jpeg.decoded(data)
    return _rgb_of_any(data, what) if usual is None else usual


def _rgb_of_any(data: bytes, what: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise _broken(what, "is not an image that Pillow knows") from error
    except Exception as error:
        raise _broken(what, f"cannot be decoded ({_reason(error)})") from error
    if image.size != (IMAGE_SIDE, IMAGE_SIDE):
        width, height = image.size
        raise TrainerError(
            f"{what}: is {width}x{height} pixels, expected {IMAGE_SIDE}x{IMAGE_SIDE}",
            f"scale the images to {IMAGE_SIDE}x{IMAGE_SIDE} before submitting",
        )
    try:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    except MemoryError:
        raise
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        problem = "is truncated" if "truncated" in str(error) else "cannot be decoded"
        raise _broken(what, f"{problem} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """What a decoder says; some say nothing but their name."""
    text = str(error)
    return type(error).__name__ if text in ("", "None") else text


def _broken(what: str, problem: str) -> TrainerError:
    return TrainerError(
        f"{what}: {problem}", "replace the image or take it off the list, then submit a new run"
    )


def scaled_side(insize: int, paper_side: int) -> int:
    """Side to which images are scaled, so that a crop shows as much as in the paper."""
    return round(IMAGE_SIDE * insize / paper_side) if insize < paper_side else IMAGE_SIDE


def scaled(image: Image.Image, side: int) -> Image.Image:
    """side x side pixels; by box-area averaging on uint8 (Pillow's BOX filter)."""
    if image.size == (side, side):
        return image
    return image.resize((side, side), Image.Resampling.BOX)


def pixels(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """uint8 (side, side, 3) of the scaled image."""
    return np.asarray(scaled(image, side))


def scaled_mean(mean: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Mean image (3, IMAGE_SIDE, IMAGE_SIDE) -> (3, side, side), by the same filter in float32."""
    if mean.shape[1:] == (side, side):
        return mean
    channels = [
        Image.fromarray(channel).resize((side, side), Image.Resampling.BOX) for channel in mean
    ]
    return np.stack([np.asarray(channel, dtype=np.float32) for channel in channels])
