"""Damaged JPEG files that decoders decode: found, and whole ones with oddities let be."""

from __future__ import annotations

import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from container.trouble import Trouble
from manifests.datasets.image_file import decode_pixels, decode_problem
from manifests.datasets.jpeg_damage import jpeg_damage
from manifests.datasets.jpeg_stream import StreamFault, scan_leftovers

CODINGS: Dict[str, Dict[str, Any]] = {
    "baseline": {},
    "444": {"subsampling": 0},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 2},
}
END = b"\xff\xd9"


def picture(seed: int) -> Image.Image:
    noise = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (32, 32, 3), np.uint8)
    return Image.fromarray(noise).resize((256, 256))


def jpeg(seed: int = 1, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def scan_of(data: bytes) -> int:
    return data.index(b"\xff\xda")


def zeros(data: bytes, size: int) -> bytes:
    at = (scan_of(data) + len(data)) // 2 - size // 2
    return data[:at] + bytes(size) + data[at + size :]


def other_bytes(data: bytes) -> bytes:
    at = (scan_of(data) + len(data)) // 2
    noise = np.random.Generator(np.random.Philox(5)).integers(0, 255, 4096, np.uint8).tobytes()
    return data[:at] + noise + data[at + 4096 :]


DAMAGES: Dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "half with an end": lambda data: data[: len(data) // 2] + END,
    "no end": lambda data: data[:-2],
    "a block of zeros": lambda data: zeros(data, 512),
    "4 kB of zeros": lambda data: zeros(data, 4096),
    "16 kB of zeros": lambda data: zeros(data, 12288) if len(data) < 20000 else zeros(data, 16384),
    "zeros to the end": lambda data: data[: len(data) // 2] + bytes(len(data) // 2) + END,
    "other bytes": other_bytes,
    "a lost block": lambda data: data[: len(data) // 2] + data[len(data) // 2 + 512 :],
    "a block twice": lambda data: data[: len(data) // 2 + 512] + data[len(data) // 2 :],
    "CR LF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR LF in the scan": lambda data: (
        data[: scan_of(data)] + data[scan_of(data) :].replace(b"\n", b"\r\n")
    ),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(coding: str, damage: str) -> None:
    for seed in (1, 2, 3):
        data = DAMAGES[damage](jpeg(seed, **CODINGS[coding]))
        assert decode_problem(data), seed
        assert decode_pixels(data)[0] is None, seed


ODDITIES: Dict[str, Callable[[bytes], bytes]] = {
    "nothing odd": lambda data: data,
    "a junk byte before the end": lambda data: data[:-2] + b"\x07" + END,
    "three junk bytes before the end": lambda data: data[:-2] + b"\x07\x08\x09" + END,
    "a junk byte in the header": lambda data: data[:20] + b"\0" + data[20:],
    "zeros before the end": lambda data: data[:-2] + bytes(4096) + END,
    "bytes after the end": lambda data: data + b"trailer" * 99,
    "a long note of zeros": lambda data: data[:2] + b"\xff\xfe\x40\x02" + bytes(0x4000) + data[2:],
    "an unknown JFIF": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\7"),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_whole_files_with_oddities_are_let_be(coding: str, oddity: str) -> None:
    good = jpeg(**CODINGS[coding])
    odd = ODDITIES[oddity](good)
    assert decode_problem(odd) == ""
    pixels, problem = decode_pixels(odd)
    assert problem == "" and pixels is not None
    expected, _ = decode_pixels(good)
    assert expected is not None and (pixels == expected).all()


@pytest.mark.parametrize("seed", range(12))
def test_lost_and_doubled_bytes_that_libjpeg_says_nothing_severe_of(seed: int) -> None:
    """Where a warning is told at all, the codes decide."""
    data = jpeg(seed, subsampling=0)
    at = len(data) // 2 + 100 * seed
    for changed in (data[:at] + data[at + 1 :], data[:at] + b"\x55" + data[at:]):
        try:
            simplejpeg.decode_jpeg(changed)
        except ValueError:
            assert decode_problem(changed) != ""


def test_what_is_said() -> None:
    data = jpeg()
    half = len(data) // 2
    assert jpeg_damage(data) == ""
    assert jpeg_damage(data[:half]) == "is truncated or damaged: Premature end of JPEG file"
    assert jpeg_damage(data[:half] + END) == (
        "is truncated or damaged: Corrupt JPEG data: premature end of data segment"
    )
    assert jpeg_damage(zeros(data, 4096)) == "has zeros in the place of a part of its data"
    twice = data[: half + 512] + data[half:]
    assert re.fullmatch(
        r"has (\d+ bytes too many in its data: a part was lost or overwritten"
        r"|codes that no encoder writes"
        r"|coefficients that no encoder writes"
        r"|blocks brighter or darker than any encoder writes"
        r"|blocks of more coefficients than any encoder writes)",
        jpeg_damage(twice) or "",
    )
    tail = jpeg(subsampling=0)
    assert jpeg_damage(tail[:-2] + bytes(range(200)) + END) == (
        "has 197 bytes too many in its data: a part was lost or overwritten"
    )


def cut_between_scans(data: bytes, count: int) -> bytes:
    """The first ``count`` scans of a progressive file, and an end."""
    starts = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    stop = data.index(b"\xff\xc4", starts[count - 1])
    return data[:stop] + END


@pytest.mark.parametrize("scans", [1, 3, 5, 8])
def test_a_progressive_file_that_ends_between_two_scans(scans: int) -> None:
    """libjpeg says nothing of it: the image is only coarser."""
    data = cut_between_scans(jpeg(progressive=True), scans)
    assert simplejpeg.decode_jpeg(data).shape == (256, 256, 3)
    assert decode_problem(data) == "lacks its last scans"


def test_even_areas_are_coded_by_zeros() -> None:
    image = Image.new("L", (256, 256), 200)
    image.paste(90, (40, 40, 90, 90))
    for options in ({"optimize": True}, {}, {"progressive": True}):
        stream = io.BytesIO()
        image.save(stream, "JPEG", **options)  # type: ignore[arg-type]
        assert decode_problem(stream.getvalue()) == ""
    stream = io.BytesIO()
    image.save(stream, "JPEG", optimize=True)
    assert bytes(32) in stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_kinds_of_colour(mode: str) -> None:
    stream = io.BytesIO()
    picture(1).convert(mode).save(stream, "JPEG", quality=90)
    data = stream.getvalue()
    assert jpeg_damage(data) == ""
    assert jpeg_damage(data[: len(data) // 2] + END) == (
        "is truncated or damaged: Corrupt JPEG data: premature end of data segment"
    )


def lossless(values: np.ndarray) -> bytes:
    """A lossless JPEG file of grey values, uint8 (rows, columns): ITU-T T.81, Annex H, predictor 1.

    One Huffman table: all 9 sizes of a difference by 4 bits.
    """
    rows, columns = values.shape
    bits: List[str] = []
    grey = values.astype(int)
    for row in range(rows):
        for column in range(columns):
            above = grey[row - 1, 0] if row else 128
            guess = grey[row, column - 1] if column else above
            difference = int(grey[row, column] - guess)
            size = abs(difference).bit_length()
            bits.append(f"{size:04b}")
            if size:
                low = difference if difference > 0 else difference + (1 << size) - 1
                bits.append(f"{low:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = b"\xff\xc3\0\x0b\x08" + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    counts = bytes([0, 0, 0, 9, *[0] * 12])
    table = b"\xff\xc4\0\x1c\0" + counts + bytes(range(9))
    head = b"\xff\xda\0\x08\x01\x01\0\x01\0\0"
    return b"\xff\xd8" + frame + b"\x01\x01\x11\0" + table + head + scan + END


def test_lossless_files_are_what_the_decoder_says() -> None:
    values = np.random.Generator(np.random.Philox(2)).integers(0, 256, (256, 256)).astype(np.uint8)
    data = lossless(values)
    assert jpeg_damage(data) is None
    assert decode_problem(data) == ""
    pixels, problem = decode_pixels(data)
    assert problem == "" and pixels is not None
    assert (pixels == values[:, :, None]).all()


def test_bytes_at_random_are_no_fault_of_ours() -> None:
    data = bytearray(jpeg(progressive=True))
    stream = np.random.Generator(np.random.Philox(9))
    for _ in range(300):
        broken = bytearray(data)
        for at in stream.integers(2, 700, 4):
            broken[at] = stream.integers(0, 256)
        decode_problem(bytes(broken))


def test_a_machine_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in threads, which are how images are read."""
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    monkeypatch.delitem(sys.modules, "manifests.datasets.jpeg_damage")
    data = jpeg()
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(decode_problem, data).exception() for _ in range(32)]
    assert {(type(error), str(error)) for error in found} == {
        (
            Trouble,
            "the package simplejpeg, which tells damaged JPEG files, cannot be imported: "
            "import of simplejpeg halted; None in sys.modules\n-> run: make setup",
        )
    }


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_large_originals(options: Dict[str, Any]) -> None:
    """Of so many blocks that no restart interval spans them all, or only in units of four."""
    noise = np.random.Generator(np.random.Philox(6)).integers(0, 256, (90, 120, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((3200, 2400)).save(stream, "JPEG", quality=85, **options)
    data = stream.getvalue()
    assert jpeg_damage(data) == ""
    assert jpeg_damage(other_bytes(data)) not in ("", None)
    assert jpeg_damage(data[: len(data) // 2] + END) not in ("", None)


def test_a_table_of_too_many_codes() -> None:
    data = jpeg(optimize=True)
    at = data.index(b"\xff\xc4") + 5
    many = data[:at] + b"\xff" + data[at + 1 :]
    assert decode_problem(many) != ""
    with pytest.raises(StreamFault, match="has a table of more codes than there are"):
        list(scan_leftovers(many))
