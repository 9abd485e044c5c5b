"""Image files: checked against their sha256, decoded to RGB, scaled when the network is small."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.record.schema import IMAGE_SIDE
from trainer.trouble import TrainerError


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
            f"{what}: was changed after the run was submitted: "
            f"expected sha256 {expected}, found {found}",
            "restore the image, or submit a new run with the images as they are now",
        )


def decode(data: bytes, what: str) -> Image.Image:
    """Return the image in mode RGB, IMAGE_SIDE x IMAGE_SIDE; grey, CMYK, palette are converted.

    An EXIF orientation is not applied, as in Chainer's own dataset classes.
    Raises TrainerError when the bytes are no image, an incomplete one, or of another size.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except Exception as error:
        raise _broken(what, "is not an image that Pillow knows") from error
    if image.size != (IMAGE_SIDE, IMAGE_SIDE):
        width, height = image.size
        raise TrainerError(
            f"{what}: is {width}x{height} pixels, expected {IMAGE_SIDE}x{IMAGE_SIDE}",
            f"scale the images to {IMAGE_SIDE}x{IMAGE_SIDE} before submitting",
        )
    try:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        reason = "is truncated" if "truncated" in str(error) else "cannot be decoded"
        raise _broken(what, f"{reason} ({error})") from error


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
