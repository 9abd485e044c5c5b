"""Original -> stored image: which part is seen, in which colours, and what is refused."""

from __future__ import annotations

import hashlib
import io
from typing import Tuple

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from manifests.datasets.centre_crop import Origin, centre_crop, origin_of, read_note, settings
from manifests.datasets.image_file import decode_pixels
from tests.manifests.datasets import originals
from tests.manifests.datasets.originals import COLOUR, GREY, encoded, plain


def stored(data: bytes) -> Image.Image:
    jpeg, problem = centre_crop(data, origin_of(data))
    assert problem == ""
    return Image.open(io.BytesIO(jpeg))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(stored(data)).astype(int)


def problem_of(data: bytes) -> str:
    jpeg, problem = centre_crop(data, origin_of(data))
    assert jpeg == b""
    return problem


@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (256, 256), (257, 256), (40, 30), (31, 20), (2000, 300)]
)
def test_short_side_and_centre(size: Tuple[int, int]) -> None:
    """An image that is white from some column on: how much white is left says what is seen."""
    for width, height in (size, size[::-1]):
        short = min(size)
        left = (width - short) / 2
        edge = int(left + short * 0.4)
        image = Image.new("L", (width, height))
        image.paste(255, (edge, 0, width, height))
        white = 256 - (edge - left) * 256 / short
        across = pixels(encoded(image, "PNG"))
        assert across.shape == (256, 256, 3)
        assert abs(across.sum(axis=1) / 255 - white).max() < 0.2
        down = pixels(encoded(image.transpose(Image.Transpose.TRANSPOSE), "PNG"))
        assert abs(down.sum(axis=0) / 255 - white).max() < 0.2


def test_nothing_aliases() -> None:
    board = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = pixels(encoded(Image.fromarray(board), "PNG"))
    assert np.abs(found - 127.5).max() < 4


KINDS = {
    "jpeg": encoded(plain(), "JPEG", quality=95),
    "progressive": encoded(plain(), "JPEG", quality=95, progressive=True),
    "png": encoded(plain(), "PNG"),
    "gif": encoded(plain(), "GIF"),
    "bmp": encoded(plain(), "BMP"),
    "tiff": encoded(plain(), "TIFF"),
    "webp": encoded(plain(), "WEBP", lossless=True),
    "several pictures": encoded(plain(), "MPO", save_all=True, append_images=[plain()], quality=95),
    "cmyk": encoded(plain().convert("CMYK"), "JPEG", quality=95),
    "ycck": originals.ycck(),
    "palette": encoded(plain().quantize(4), "PNG"),
    "palette with transparency": originals.palette_with_transparency(),
    "transparent": encoded(Image.new("RGBA", (300, 260), (*COLOUR, 0)), "PNG"),
    "one colour transparent": encoded(plain(), "PNG", transparency=COLOUR),
}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_of_every_kind(kind: str) -> None:
    found = pixels(KINDS[kind])
    assert np.abs(found - np.array(COLOUR)).max() <= 3


GREYS = {
    "jpeg": encoded(plain().convert("L"), "JPEG", quality=95),
    "png": encoded(plain().convert("L"), "PNG"),
    "with alpha": encoded(plain().convert("LA"), "PNG"),
    "16 bits": originals.sixteen_bits(),
}


@pytest.mark.parametrize("kind", GREYS)
def test_grey_of_every_kind(kind: str) -> None:
    image = stored(GREYS[kind])
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).astype(int) - GREY).max() <= 1


def test_black_and_white() -> None:
    image = Image.new("1", (300, 260), 1)
    assert pixels(encoded(image, "PNG")).min() >= 254


def test_an_exif_orientation_is_neither_applied_nor_passed_on() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = originals.red_and_blue((300, 256), exif=exif)
    upright = originals.red_and_blue((300, 256))
    assert Image.open(io.BytesIO(turned)).getexif()[0x0112] == 6
    assert np.array_equal(pixels(turned), pixels(upright))
    assert dict(stored(turned).getexif()) == {}


def test_what_else_the_original_says_does_not_reach_the_file() -> None:
    noisy = encoded(
        plain(),
        "JPEG",
        quality=95,
        comment=b"mine",
        xmp=b"<x/>",
        icc_profile=b"x" * 400,
        dpi=(7, 7),
    )
    image = stored(noisy)
    assert image.format == "JPEG"
    assert sorted(image.info) == ["comment", "jfif", "jfif_density", "jfif_unit", "jfif_version"]
    assert image.info["comment"] == origin_of(noisy).note()
    # One sample of each colour per pixel, in each of the three components.
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


def test_the_note_says_what_the_image_was_made_from() -> None:
    data = KINDS["png"]
    jpeg, _ = centre_crop(data, origin_of(data))
    origin = read_note(jpeg[:256])
    assert origin == Origin(hashlib.sha256(data).hexdigest(), len(data))
    assert read_note(data[:256]) is None
    assert read_note(jpeg[:256].replace(b"bundle crop 1 ", b"bundle crop 2 ")) is None


def test_the_same_original_gives_the_same_bytes() -> None:
    data = KINDS["jpeg"]
    assert centre_crop(data, origin_of(data)) == centre_crop(data, origin_of(data))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3, 2)])
def test_tiny_and_narrow_originals(size: Tuple[int, int]) -> None:
    assert np.abs(pixels(encoded(plain(size), "PNG")) - np.array(COLOUR)).max() <= 3


def test_what_is_no_usable_image() -> None:
    good = KINDS["jpeg"]
    expected = "is not an image (JPEG, PNG, GIF, BMP, TIFF or WEBP)"
    for data in (b"text", encoded(plain(), "PPM")):
        assert problem_of(data) == expected
    assert problem_of(b"") == "is empty"
    assert problem_of(good[:100]) == "is a damaged JPEG file: Truncated File Read"
    assert problem_of(good[:-200]).startswith("is truncated or damaged: image file is truncated")
    png = bytearray(KINDS["png"])
    png[png.index(b"IDAT") + 20] ^= 255
    assert problem_of(bytes(png)).startswith("is truncated or damaged: ")
    floats = encoded(Image.new("F", (300, 260), 0.5), "TIFF")
    assert problem_of(floats) == ("has pixels of kind F, which have no defined white")
    huge = encoded(Image.new("1", (2**14, 2**13 + 1)), "PNG")
    assert problem_of(huge) == "has 16384x8193 pixels, more than 134 million"


def test_the_settings_name_all_that_decides_the_bytes() -> None:
    assert sorted(settings()) == [
        "filter", "format", "jpeg_quality", "jpeg_subsampling", "libjpeg", "libjpeg_turbo",
        "pillow", "side",
    ]  # fmt: skip
    assert settings()["pillow"] == Image.__version__  # type: ignore[attr-defined]


def test_stored_images_of_16_bits_are_refused() -> None:
    """Pillow's conversion to RGB would make them white."""
    data = encoded(Image.fromarray(np.full((256, 256), 20000, np.uint16)), "PNG")
    assert decode_pixels(data) == (
        None, "has 16 bits per pixel, of which training would see white; expected 8",
    )  # fmt: skip


def overwritten(data: bytes, what: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + what + data[middle + len(what) :]


def test_what_libtiff_says_is_the_reason_and_never_on_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    dice = np.random.default_rng(1)
    image = Image.fromarray(dice.integers(0, 256, (300, 300, 3)).astype(np.uint8))
    packed = encoded(image, "TIFF", compression="tiff_lzw")
    problem = problem_of(overwritten(packed, bytes(2000)))
    assert problem.startswith("is truncated or damaged: decoder error -2 (LZWDecode: ")
    fax = encoded(image.convert("1"), "TIFF", compression="group4")
    noise = dice.integers(0, 256, 500).astype(np.uint8).tobytes()
    # Here it goes on, and Pillow is content.
    problem = problem_of(overwritten(fax, noise))
    assert problem.startswith("is truncated or damaged: Fax4Decode: ")
    for good in (packed, fax):
        stored(good)
    # A tag that it does not know is a warning.
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[65000] = "private"
    stored(encoded(image, "TIFF", compression="tiff_lzw", tiffinfo=tags))
    assert capfd.readouterr().err == ""
