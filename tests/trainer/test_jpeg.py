"""JPEG files decoded the short way: the pixels that Pillow gives, and Pillow's word on the rest."""

from __future__ import annotations

import io
from typing import Any, Dict, Iterator, Optional, Union

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainer import image, jpeg
from trainer.trouble import TrainerError

WHAT = "image 'x.jpg' (line 1 of inputs/train.tsv)"


def picture(number: int, side: int = 256) -> Image.Image:
    """Smooth colours with some noise, so that files of all qualities have codes of all lengths."""
    random = np.random.Generator(np.random.Philox(number))
    coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    noise = random.integers(0, 1 + number % 64, smooth.shape)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def file_of(drawn: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", **options)
    return stream.getvalue()


def kinds(number: int) -> Dict[str, bytes]:
    """Every kind of three components that Pillow writes, by a name."""
    drawn, found = picture(number), {}
    profile = bytes(3000)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            name = f"{sampling}{' progressive' * progressive}"
            common: Dict[str, Any] = {"subsampling": sampling, "progressive": progressive}
            quality = 1 + number * 37 % 100
            found[name] = file_of(drawn, quality=quality, **common)
            found[f"{name}, restarts"] = file_of(drawn, restart_marker_blocks=5, **common)
            found[f"{name}, notes"] = file_of(
                drawn, comment="note", icc_profile=profile, exif=exif, optimize=True, **common
            )
    found["RGB"] = file_of(drawn, keep_rgb=True)
    return found


def pillow(data: bytes) -> Union[bytes, str]:
    """The pixels that Pillow gives without the short way, or what is said of the file."""
    return outcome(data, image._rgb_of_any)


def outcome(data: bytes, decode: Any = image.decode) -> Union[bytes, str]:
    try:
        found: Image.Image = decode(data, WHAT)
    except TrainerError as error:
        return str(error)
    assert (found.mode, found.size) == ("RGB", (256, 256))
    return found.tobytes()


def test_the_short_way_gives_the_pixels_of_pillow() -> None:
    for number in range(8):
        for name, data in kinds(number).items():
            found = jpeg.decoded(data)
            assert found is not None, name
            assert found.tobytes() == pillow(data), name


@pytest.mark.parametrize(
    ("mode", "form", "side"),
    [("L", "JPEG", 256), ("CMYK", "JPEG", 256), ("RGB", "PNG", 256), ("P", "GIF", 256),
     ("RGB", "WEBP", 256), ("RGB", "JPEG", 255), ("RGB", "MPO", 256)],
)  # fmt: skip
def test_other_files_are_for_pillow(mode: str, form: str, side: int) -> None:
    stream = io.BytesIO()
    drawn = picture(3, side).convert(mode)
    if form == "MPO":
        drawn.save(stream, form, save_all=True, append_images=[picture(4)])
    else:
        drawn.save(stream, form)
    data = stream.getvalue()
    assert jpeg.decoded(data) is None
    assert outcome(data) == pillow(data)


def damaged(data: bytes, random: np.random.Generator) -> Iterator[bytes]:
    at = int(random.integers(2, len(data)))
    yield data[:at]
    yield data[:at] + b"\xff\xd9"
    yield data[:at] + data[at + 7 :]
    yield data[:at] + bytes(300) + data[at + 300 :]
    yield data[:at] + bytes([data[at] ^ 1 << int(random.integers(8))]) + data[at + 1 :]
    # In the header, where the short way looks.
    at = int(random.integers(2, min(700, len(data))))
    yield data[:at] + bytes([int(random.integers(256))]) + data[at + 1 :]
    yield data[:at] + b"\xff" + data[at:]
    yield data.replace(b"\n", b"\r\n")


def test_damaged_files_are_what_they_are_for_pillow() -> None:
    """The same pixels, or the same words."""
    random = np.random.Generator(np.random.Philox(0))
    short = 0
    for number in range(6):
        for name, data in kinds(number).items():
            for broken in damaged(data, random):
                expected = pillow(broken)
                assert outcome(broken) == expected, name
                short += jpeg.decoded(broken) is not None
    assert short > 100


def test_short_and_empty_files() -> None:
    whole = file_of(picture(0))
    scan = whole.index(b"\xff\xda") + 4
    assert [jpeg.is_usual(whole[:length]) for length in (0, 1, 2, 3, scan - 1, scan)] == [
        *5 * [False],
        True,
    ]
    for length in range(0, len(whole), 7):
        assert jpeg.decoded(whole[:length]) is None


@pytest.mark.parametrize("error", [AttributeError, TypeError, ValueError, OSError])
def test_another_pillow(monkeypatch: pytest.MonkeyPatch, error: type) -> None:
    """One whose decoders are made in another way is asked as every program asks it."""

    def refuse(*_: Any) -> Any:
        raise error("another Pillow")

    data = file_of(picture(1))
    expected = pillow(data)
    monkeypatch.setattr(Image.core, "jpeg_decoder", refuse)
    assert jpeg.decoded(data) is None
    monkeypatch.undo()
    monkeypatch.setattr(jpeg, "decoded", lambda data: None)
    assert outcome(data) == expected


def pixels_of(found: Optional[Image.Image]) -> npt.NDArray[np.uint8]:
    assert found is not None
    return np.asarray(found)


def test_an_orientation_is_not_applied() -> None:
    data = kinds(2)["4:4:4, notes"]
    plain = file_of(picture(2), subsampling="4:4:4")
    assert np.array_equal(pixels_of(jpeg.decoded(data)), pixels_of(jpeg.decoded(plain)))
