"""Whose fault it is: the image's, this machine's, or ours. And that Pillow does not speak."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Callable, List

import pytest
from PIL import Image

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.centre_crop import centre_crop, origin_of
from manifests.datasets.check import check
from manifests.datasets.image_file import decode_pixels, decode_problem, read_digest, read_file
from manifests.datasets.mean_of_list import write_mean
from manifests.datasets.pack import pack
from manifests.record.keys import PNG_TEXT_LIMIT
from tests.manifests.datasets.originals import encoded, plain

PROJECT = Path(__file__).resolve().parents[3]


def png(note: bytes, kind: bytes = b"iCCP", size: tuple[int, int] = (256, 256)) -> bytes:
    """A good PNG file with one more chunk, which holds ``note``."""
    data = encoded(plain(size), "PNG")
    at = data.index(b"IDAT") - 4
    body = kind + note
    chunk = len(note).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:at] + chunk + data[at:]


def cropped(data: bytes) -> str:
    return centre_crop(data, origin_of(data))[1]


PROFILE = b"x\0\0" + zlib.compress(bytes(2 << 20))


def test_large_profiles_and_notes_are_nothing_to_the_pixels() -> None:
    for kind, note in (
        (b"iCCP", PROFILE),
        (b"zTXt", PROFILE),
        (b"iTXt", b"x\0\1\0\0\0" + zlib.compress(b" " * (2 << 20))),
        (b"tEXt", b"x\0" + b" " * (2 << 20)),
    ):
        data = png(note, kind)
        assert (decode_problem(data), cropped(data)) == ("", ""), kind
        assert decode_pixels(data)[1] == ""


def test_a_profile_beyond_all_reason_keeps_the_decoders_words() -> None:
    data = png(b"x\0\0" + zlib.compress(bytes(PNG_TEXT_LIMIT + 1)))
    expected = (
        "is a damaged PNG file: Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK"
    )
    assert decode_problem(data) == expected
    assert cropped(data) == expected


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"<html>no</html>", "is not an image (JPEG or PNG)"),
        (encoded(plain((256, 256)), "GIF"), "is a GIF file, expected JPEG or PNG"),
        (encoded(plain((256, 256)), "WEBP"), "is a WEBP file, expected JPEG or PNG"),
        (encoded(plain((256, 256)), "BMP"), "is a BMP file, expected JPEG or PNG"),
        (encoded(plain((256, 256)), "TIFF"), "is a TIFF file, expected JPEG or PNG"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "is a HEIC file, expected JPEG or PNG"),
        (encoded(plain(), "JPEG")[:4], "is a damaged JPEG file: it ends within its header"),
        (encoded(plain(), "JPEG")[:100], "is a damaged JPEG file: Truncated File Read"),
        (encoded(plain(), "PNG")[:9], "is a damaged PNG file: it ends within its header"),
        (
            encoded(plain(), "PNG").replace(b"IHDR", b"IHDX"),
            "is a damaged PNG file: broken PNG file (bad header checksum in b'IHDX')",
        ),
    ],
)
def test_what_is_wrong_with_an_image(data: bytes, problem: str) -> None:
    assert decode_problem(data) == problem
    assert decode_pixels(data) == (None, problem)


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: Any, **__: Any) -> Any:
        raise error

    return act


def listed(folder: Path, data: bytes) -> Path:
    (folder / "x.png").write_bytes(data)
    (folder / "list.txt").write_text("x.png 0\n")
    return folder / "list.txt"


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError("out of memory error when reading image file")]
)
def test_memory_is_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    list_file = listed(tmp_path, png(b"", b"teSt"))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", raising(error))
    said = (
        f"{tmp_path}/x.png: there is not enough memory to decode it\n"
        "-> free some memory, or ask for fewer --workers"
    )
    looked = {"nclasses": None, "mean": None, "cache_folder": None, "progress": Silent()}
    acts: List[Callable[[], Any]] = [
        lambda: check(list_file, tmp_path, **looked),  # type: ignore[arg-type]
        lambda: pack(list_file, tmp_path, tmp_path / "x.pack", progress=Silent()),
        lambda: read_digest(str(tmp_path / "x.png"), decode=True),
    ]
    for act in acts:
        with pytest.raises(Trouble) as caught:
            act()
        assert str(caught.value) == said
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_that_is_really_not_there(tmp_path: Path) -> None:
    """A large original in a process that may not have so much: crop says so, and leaves nothing."""
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "a.png").write_bytes(encoded(Image.new("RGB", (11000, 11000)), "PNG"))
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "data", "crop", "o", "t", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20)),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "bundle: o/a.png: there is not enough memory to decode it\n"
        "-> free some memory, or ask for fewer --workers\n"
    )
    after = [path for path in sorted(tmp_path.rglob("*")) if "t" not in path.parts[-3:]]
    assert [path for path in after if ".crop" not in path.parts] == before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_limits_are_the_machines(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr("builtins.open", raising(OSError(number, os.strerror(number), "x")))
    with pytest.raises(Trouble) as caught:
        read_file("x")
    assert str(caught.value) == (
        f"x: cannot be read: {os.strerror(number)}\n"
        "-> this is not the file's fault: see to the limits of this machine (ulimit -a), or ask "
        "for fewer --workers"
    )


def test_what_a_file_refuses_is_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", raising(OSError(errno.EACCES, "Permission denied", "x")))
    assert read_file("x") == (b"", None, "cannot be read: Permission denied")


def test_a_decoder_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(b"", b"teSt")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", raising(SyntaxError()))
    assert decode_problem(data) == "is truncated or damaged: SyntaxError"
    assert cropped(data) == "is truncated or damaged: SyntaxError"


def test_our_own_faults_are_not_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.datasets.centre_crop._rgb", raising(AttributeError("ours")))
    with pytest.raises(AttributeError, match="ours"):
        cropped(png(b"", b"teSt"))


def warned_of() -> dict[str, bytes]:
    """Files of which Pillow warns."""
    palette = Image.new("P", (256, 256), 1)
    palette.putpalette([9, 9, 9, 200, 120, 40])
    exif = Image.Exif()
    exif[0x010E] = "a description"
    notes = exif.tobytes()
    return {
        "palette.png": encoded(palette, "PNG", transparency=bytes([10, 100])),
        "exif.jpg": encoded(plain((256, 256)), "JPEG", exif=notes[:-9]),
    }


def test_pillow_does_not_speak(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name, data in warned_of().items():
        (tmp_path / "c" / name).write_bytes(data)
    names = "".join(f"c/{name} 0\n" for name in warned_of())
    (tmp_path / "list.txt").write_text(names)
    code = (
        "import sys, warnings\n"
        "from PIL import Image\n"
        "with warnings.catch_warnings(record=True) as found:\n"
        "    warnings.simplefilter('always')\n"
        "    for name in sys.argv[1:]: Image.open(name).convert('RGB').getexif()\n"
        "print(len(found))"
    )
    files = [str(path) for path in sorted((tmp_path / "c").iterdir())]
    said = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, check=True)
    assert int(said.stdout) >= 1  # or this test shows nothing
    for arguments in (
        ["crop", "c", "stored", "--workers", "1"],
        ["check", "list.txt"],
        ["mean", "list.txt", "-o", "mean.npy", "--workers", "1"],
        ["pack", "list.txt"],
    ):
        done = subprocess.run(
            [sys.executable, str(PROJECT / "bundle.py"), "data", *arguments],
            cwd=tmp_path,
            env={**os.environ, "BUNDLE_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        assert all(line.startswith("bundle: ") for line in lines), lines
        assert "warning" not in done.stderr and "PIL" not in done.stderr


def test_a_damaged_file_is_named_by_every_verb(tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    data = jpeg()
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    (tmp_path / "list.txt").write_text("x.jpg 0\n")
    before = sorted(tmp_path.rglob("*"))
    said = (
        f"{tmp_path}/list.txt, line 1: {tmp_path}/x.jpg is truncated or damaged: Corrupt JPEG "
        "data: premature end of data segment"
    )
    looked = {"nclasses": None, "mean": None, "cache_folder": None, "progress": Silent()}
    found = check(tmp_path / "list.txt", tmp_path, **looked)  # type: ignore[arg-type]
    assert found.values()["problems"] == [said]
    for act in (pack, write_mean):
        with pytest.raises(Trouble) as caught:
            act(tmp_path / "list.txt", tmp_path, tmp_path / "n" / "out", progress=Silent())
        assert caught.value.problems == [said]
    assert sorted(tmp_path.rglob("*")) == before
