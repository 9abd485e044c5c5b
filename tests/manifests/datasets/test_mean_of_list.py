"""`data mean`: exact, the same for any number of workers, as the trainer sees the images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.list_file import NEXT_STEP
from manifests.datasets.mean import scan_mean
from manifests.datasets.mean_of_list import ListMean, write_mean
from tests.manifests.datasets.originals import encoded
from trainer.image import decode, pixels


def mean_of(folder: Path, output: Path, **options: Any) -> ListMean:
    options.setdefault("workers", 1)
    return write_mean(folder / "train.txt", folder, output, progress=Silent(), **options)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """600 images of every kind that a stored image may have."""
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.Generator(np.random.Philox(7)).integers(0, 256, (5, 8, 8, 3), np.uint8)
    base = [Image.fromarray(each).resize((256, 256)) for each in noise]
    kinds = [
        encoded(base[0], "JPEG"),
        encoded(base[1].convert("L"), "JPEG"),
        encoded(base[2].convert("CMYK"), "JPEG"),
        encoded(base[3].quantize(16), "PNG"),
        encoded(base[4].convert("RGBA"), "PNG"),
    ]
    names = [f"{number:03d}.img" for number in range(600)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(kinds[number % len(kinds)])
    (folder / "train.txt").write_text("".join(f"{name} 0\n" for name in names))
    return folder


def test_exact_and_as_the_trainer_sees_the_images(images: Path, tmp_path: Path) -> None:
    done = mean_of(images, tmp_path / "one.npy")
    mean_of(images, tmp_path / "three.npy", workers=3)
    data = (tmp_path / "one.npy").read_bytes()
    assert (tmp_path / "three.npy").read_bytes() == data
    assert done.sha256 == hashlib.sha256(data).hexdigest()
    reference = np.zeros((256, 256, 3), np.float64)
    for number in range(600):
        image = decode((images / f"{number:03d}.img").read_bytes(), "it")
        reference += pixels(image, 256)
    found = np.load(tmp_path / "one.npy")
    assert np.array_equal(found, (reference / 600).astype(np.float32).transpose(2, 0, 1))
    assert scan_mean(tmp_path / "one.npy")[1] == []
    means = reference.mean(axis=(0, 1)) / 600
    assert done.channels == pytest.approx(means.tolist())
    assert done.lines() == [
        f"{tmp_path}/one.npy: mean of 600 images, "
        f"red {means[0]:.3f}, green {means[1]:.3f}, blue {means[2]:.3f}",
        f"sha256 {done.sha256}",
    ]


def test_white_images_do_not_overflow(tmp_path: Path) -> None:
    (tmp_path / "white.png").write_bytes(encoded(Image.new("L", (256, 256), 255), "PNG"))
    (tmp_path / "train.txt").write_text("white.png 0\n" * 300)
    mean_of(tmp_path, tmp_path / "mean.npy")
    assert (np.load(tmp_path / "mean.npy") == 255).all()


def test_unusable_images_are_all_named_and_nothing_is_written(images: Path, tmp_path: Path) -> None:
    (images / "003.img").unlink()
    (images / "300.img").write_bytes(b"text")
    (images / "301.img").write_bytes(encoded(Image.new("RGB", (300, 200)), "PNG"))
    (images / "302.img").write_bytes((images / "305.img").read_bytes()[:-100])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Trouble) as caught:
        mean_of(images, tmp_path / "mean.npy", workers=2)
    where = images / "train.txt"
    cut = caught.value.problems[3]
    assert cut.startswith(f"{where}, line 303: {images}/302.img is truncated or damaged: ")
    assert str(caught.value) == (
        f"{where}, line 4: {images}/003.img does not exist\n"
        f"{where}, line 301: {images}/300.img is not an image (JPEG or PNG)\n"
        f"{where}, line 302: {images}/301.img has 300x200 pixels, expected 256x256\n"
        f"{cut}\n"
        "-> repair these images or take them out of the list"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_lists_that_cannot_be_used(images: Path, tmp_path: Path) -> None:
    list_file = images / "train.txt"
    with pytest.raises(Trouble) as caught:
        mean_of(images, list_file)
    assert str(caught.value) == f"{list_file}: is the list itself\n-> name another output"
    list_file.write_text("a\n")
    with pytest.raises(Trouble) as caught:
        mean_of(images, tmp_path / "mean.npy")
    assert str(caught.value) == (
        f"{list_file}, line 1: found 'a', expected `<path> <label>`\n-> {NEXT_STEP}"
    )
    assert not (tmp_path / "mean.npy").exists()
