"""From the bytes of a file to a sample, and every way in which a file can be wrong."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer import image
from trainer.augment import MeanImage, View, choose_views, cut_view
from trainer.loadtypes.custom import PackedImages
from trainer.loadtypes.original import OriginalImages
from trainer.loadtypes.views import TOGETHER, Writer
from trainer.pillow_memory import planes_of
from trainer.randomness import Purpose, uniform_below, words
from trainer.sampleset import Part, SampleSet
from trainer.trouble import TrainerError

WHAT = "image 'x.jpg' (line 1 of inputs/train.tsv)"
REPLACE = "replace the image or take it off the list, then submit a new run"


def encoded(mode: str, form: str = "PNG", size: tuple[int, int] = (256, 256)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).convert(mode).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG")],
)
def test_every_kind_becomes_rgb(mode: str, form: str) -> None:
    decoded = image.decode(encoded(mode, form), WHAT)
    assert (decoded.mode, decoded.size) == ("RGB", (256, 256))


def test_not_an_image() -> None:
    with pytest.raises(TrainerError) as caught:
        image.decode(b"hello", WHAT)
    assert str(caught.value) == f"{WHAT}: is not an image that Pillow knows\n-> {REPLACE}"


def test_empty_file() -> None:
    with pytest.raises(TrainerError) as caught:
        image.decode(b"", WHAT)
    assert str(caught.value) == f"{WHAT}: is not an image that Pillow knows\n-> {REPLACE}"


def test_truncated() -> None:
    whole = io.BytesIO()
    noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    with pytest.raises(TrainerError) as caught:
        image.decode(whole.getvalue()[:5000], WHAT)
    expected = f"{WHAT}: is truncated (image file is truncated (15 bytes not processed))"
    found = str(caught.value)
    assert found.split("(image file")[0] == expected.split("(image file")[0]
    assert found.endswith(f" bytes not processed))\n-> {REPLACE}")


def test_other_size() -> None:
    with pytest.raises(TrainerError) as caught:
        image.decode(encoded("RGB", size=(256, 200)), WHAT)
    assert str(caught.value) == (
        f"{WHAT}: is 256x200 pixels, expected 256x256\n"
        "-> scale the images to 256x256 before submitting"
    )


def test_scaled_side_follows_the_paper() -> None:
    assert image.scaled_side(67, 227) == 76
    assert image.scaled_side(227, 227) == 256
    assert image.scaled_side(240, 227) == 256


def test_scaling_averages_areas_of_image_and_mean_alike() -> None:
    blocks = np.arange(128 * 128, dtype=np.uint32).reshape(128, 128) % 200
    fine = np.repeat(np.repeat(blocks, 2, 0), 2, 1).astype(np.uint8)
    small = image.pixels(Image.fromarray(np.stack([fine] * 3, axis=-1)), 128)
    assert (small == blocks[:, :, None]).all()
    mean = np.stack([fine] * 3).astype(np.float32)
    assert np.array_equal(image.scaled_mean(mean, 128), np.stack([blocks] * 3))
    assert image.scaled_mean(mean, 256) is mean


def view_of(side: int, insize: int, seed: int, index: int, epoch: int) -> list[int]:
    """One view, from words of NumPy's own generator."""
    down, right = words(seed, Purpose.CROP, 2, epoch=epoch, sample=index)
    (coin,) = words(seed, Purpose.FLIP, 1, epoch=epoch, sample=index)
    return [
        *(uniform_below(word, side - insize + 1) for word in (down, right)),
        uniform_below(coin, 2),
    ]


def test_validation_sees_the_centre() -> None:
    assert choose_views(256, 227, 1, [3, 5], None).tolist() == [[14, 14, 0]] * 2


def test_training_views_are_a_function_of_sample_and_epoch_and_cover_all() -> None:
    indices = range(3000)
    views = choose_views(76, 67, 1, indices, [0] * 3000).tolist()
    assert views == choose_views(76, 67, 1, indices, [0] * 3000).tolist()
    assert views != choose_views(76, 67, 1, indices, [1] * 3000).tolist()
    tops, lefts, flips = zip(*views)
    assert set(tops) == set(lefts) == set(range(10))
    assert abs(sum(flips) / 3000 - 0.5) < 0.03


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
@pytest.mark.parametrize(("side", "insize"), [(256, 224), (76, 67), (256, 256)])
def test_views_of_a_batch_are_those_of_its_samples(side: int, insize: int, seed: int) -> None:
    indices = [0, 1281166, 2**40, *range(500)]
    epochs = [k % 91 for k in range(len(indices))]
    found = choose_views(side, insize, seed, indices, epochs)
    assert (found.dtype, found.flags.c_contiguous) == (np.int32, True)
    assert found.tolist() == [view_of(side, insize, seed, *slot) for slot in zip(indices, epochs)]


def test_no_room_means_no_shift() -> None:
    assert choose_views(256, 256, 1, [0], [0])[0, :2].tolist() == [0, 0]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("side", "insize"), [(9, 4), (76, 67), (256, 224), (256, 227), (256, 256)])
def test_view_subtracts_the_mean_of_its_own_pixels(
    side: int, insize: int, interleaved: bool
) -> None:
    """Bit for bit what is written down here, for pixels in both memory orders."""
    random = np.random.Generator(np.random.Philox(side))
    pixels = random.integers(0, 256, (3, side, side), np.uint8)
    given = np.ascontiguousarray(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    mean = random.random((3, side, side), np.float32) * np.float32(255)
    room = side - insize
    for view in (View(0, 0, True), View(room, 0, False), View(room // 2, room // 3, True)):
        crop = (slice(None), slice(view.top, view.top + insize))
        crop += (slice(view.left, view.left + insize),)
        expected = (pixels[crop].astype(np.float32) - mean[crop]) * np.float32(1 / 255)
        if view.flip:
            expected = expected[:, :, ::-1]
        found = np.full((1, 3, insize, insize), np.nan, np.float32)
        writer = Writer([view], MeanImage(mean), found)
        writer.add(given if interleaved else pixels)
        writer.finish()
        assert found.tobytes() == expected.tobytes()
        # The second place of two need not begin at a whole word of memory.
        cut = np.zeros((2, 3, insize, insize), np.uint8)[1]
        cut_view(given if interleaved else pixels, view, cut)
        seen = pixels[crop][:, :, ::-1] if view.flip else pixels[crop]
        assert cut.tobytes() == seen.tobytes()


@pytest.mark.parametrize("size", [(256, 256), (5, 3)])
def test_planes_are_the_pixels_of_the_image(size: tuple[int, int]) -> None:
    noise = np.random.Generator(np.random.Philox(1)).integers(0, 256, (*size[::-1], 3), np.uint8)
    picture = Image.fromarray(noise)
    with planes_of(picture) as planes:
        assert planes.shape == (3, *size[::-1])
        assert planes.tobytes() == np.ascontiguousarray(noise.transpose(2, 0, 1)).tobytes()
        picture.putpixel((4, 2), (1, 2, 3))
        assert planes[:, 2, 4].tolist() == [1, 2, 3]  # seen where they are, not copied


def test_planes_of_an_image_whose_memory_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise ValueError("Image is in multiple array blocks, use imaging_new_block for zero copy")

    picture = Image.new("RGB", (3, 2), (9, 8, 7))
    monkeypatch.setattr(Image.Image, "__arrow_c_array__", refuse)
    with planes_of(picture) as planes:
        assert planes[:, 1, 2].tolist() == [9, 8, 7]


@pytest.mark.parametrize("raw", [False, True])
def test_a_batch_is_its_samples_one_by_one(make_case: Any, raw: bool) -> None:
    case = make_case(loading={"loadtype": "custom"})
    files = case.files
    described = SampleSet(
        files.train_table, case.train_root, files.mean, 7, 67, 227, case.train_pack, raw=raw
    )
    indices, epochs = (3, 0, 9, 3), (0, 1, 1, 2)
    expected = [
        one(OriginalImages(described, np.zeros(10, np.uint8)), index, epoch, described.dtype)
        for index, epoch in zip(indices, epochs)
    ]
    for kind in (OriginalImages, PackedImages):
        samples = kind(described, np.zeros(10, np.uint8))
        for _ in range(2):  # checked, then seen in place
            out = np.ones((4, 3, 67, 67), described.dtype)
            samples.load(indices, epochs, out)
            assert out.tobytes() == b"".join(expected)


@pytest.mark.parametrize("raw", [False, True])
def test_samples_made_together_are_those_made_alone(make_case: Any, raw: bool) -> None:
    """Also where a group is full, and where one is left over."""
    case = make_case(loading={"loadtype": "custom"})
    files = case.files
    described = SampleSet(
        files.train_table, case.train_root, files.mean, 7, 227, 227, case.train_pack, raw=raw
    )
    indices = tuple(k * 7 % 10 for k in range(2 * TOGETHER + 1))
    epochs = tuple(range(len(indices)))
    for count in (TOGETHER - 1, TOGETHER, len(indices)):
        alone = []
        for kind in (OriginalImages, PackedImages):
            samples = kind(described, np.zeros(10, np.uint8))
            out = np.ones((count, 3, 227, 227), described.dtype)
            samples.load(indices[:count], epochs[:count], out)
            for place, slot in enumerate(zip(indices[:count], epochs)):
                single = np.empty((1, 3, 227, 227), described.dtype)
                samples.load(slot[:1], slot[1:], single)
                assert single.tobytes() == out[place].tobytes()
            alone.append(out.tobytes())
        assert alone[0] == alone[1]


def one(samples: OriginalImages, index: int, epoch: int, dtype: Any) -> bytes:
    out = np.empty((1, 3, 67, 67), dtype)
    samples.load((index,), (epoch,), out)
    return out.tobytes()


def load(samples: OriginalImages, index: int) -> Any:
    out = np.full((1, 3, 67, 67), np.nan, np.float32)
    samples.load((index,), (0,), out)
    return out


def train_set(case: Any) -> SampleSet:
    files = case.files
    return SampleSet(files.train_table, case.train_root, files.mean, 7, 67, 227)


def test_changed_image_is_refused_when_first_seen_only(make_case: Any) -> None:
    case = make_case()
    path: Path = case.train_root / case.train[1]
    samples = OriginalImages(train_set(case), np.zeros(10, np.uint8))
    before = load(samples, 1)
    data = path.read_bytes()
    path.write_bytes(data + b"\0")
    assert np.array_equal(load(samples, 1), before)
    with pytest.raises(TrainerError) as caught:
        load(OriginalImages(train_set(case), np.zeros(10, np.uint8)), 1)
    import hashlib

    old, new = (hashlib.sha256(text).hexdigest() for text in (data, data + b"\0"))
    assert str(caught.value) == (
        "image 'a b/\"c\".jpg' (line 2 of inputs/train.tsv): was altered: "
        f"sha256 {new}, expected {old}\n"
        "-> restore the image, or submit a new run with the images as they are now"
    )


def large_profile() -> bytes:
    """A PNG file with a colour profile that unpacks to more than Pillow takes by itself."""
    import zlib

    data = encoded("RGB")
    at = data.index(b"IDAT") - 4
    body = b"iCCPx\0\0" + zlib.compress(bytes(2 << 20))
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:at] + chunk + data[at:]


def test_a_large_colour_profile_is_nothing_to_the_pixels() -> None:
    found = np.asarray(image.decode(large_profile(), "x"))
    assert np.array_equal(found, np.asarray(image.decode(encoded("RGB"), "x")))


def test_whose_fault_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("RGB")

    def refusal(error: Exception) -> str:
        def load(_self: Any) -> None:
            raise error

        with monkeypatch.context() as patch, pytest.raises(TrainerError) as caught:
            patch.setattr(Image.Image, "load", load)
            patch.setattr("PIL.ImageFile.ImageFile.load", load)
            image.decode(data, "image 'x'")
        return str(caught.value)

    machine = (
        "image 'x': there is not enough memory to decode it\n"
        "-> this is not the image's fault: ask for more memory per node, or for fewer loaders "
        "(loaderjob), then submit a new run"
    )
    assert refusal(MemoryError()) == machine
    assert refusal(OSError("out of memory error when reading image file")) == machine
    again = "-> replace the image or take it off the list, then submit a new run"
    assert refusal(SyntaxError()) == f"image 'x': cannot be decoded (SyntaxError)\n{again}"


def test_pillow_does_not_speak(make_case: Any) -> None:
    """Its warnings name files of its own, and not the image."""
    import subprocess
    import sys

    code = (
        "import io; from PIL import Image; from trainer import image\n"
        "palette = Image.new('P', (256, 256), 1); palette.putpalette([9, 9, 9, 200, 120, 40])\n"
        "stream = io.BytesIO(); palette.save(stream, 'PNG', transparency=bytes([10, 100]))\n"
        "print(image.decode(stream.getvalue(), 'x').getpixel((0, 0)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(200, 120, 40)\n", "")


def test_missing_image(make_case: Any) -> None:
    case = make_case()
    path: Path = case.train_root / case.train[0]
    path.unlink()
    with pytest.raises(TrainerError) as caught:
        load(OriginalImages(train_set(case), np.zeros(10, np.uint8)), 0)
    assert str(caught.value) == (
        "image 'plain.jpg' (line 1 of inputs/train.tsv): cannot be read: "
        "No such file or directory\n"
        f"-> check {path} and that its folder is bound into the container"
    )


def test_label_without_a_class(make_case: Any) -> None:
    from trainer.table import SampleTable

    table = SampleTable(make_case().files.train_table)
    assert table.labels([0, 9], 8).tolist() == [0, 1]
    with pytest.raises(TrainerError) as caught:
        table.labels([0, 5], 4)
    assert str(caught.value) == (
        "image '005.jpg' (line 6 of inputs/train.tsv): has the label 5, "
        "expected 0 to 3 (nclasses is 4)\n-> correct the list or nclasses, then submit a new run"
    )


def test_broken_table_line(tmp_path: Path) -> None:
    from trainer.table import SampleTable

    folder = tmp_path / "inputs"
    folder.mkdir()
    sha256 = "ab" * 32
    (folder / "train.tsv").write_text(f"{sha256}\t0\tgood\n{sha256} 0 bad\n")
    table = SampleTable(folder / "train.tsv")
    assert (len(table), table.entry(0)) == (2, (sha256, 0, "good"))
    with pytest.raises(TrainerError) as caught:
        table.entry(1)
    assert str(caught.value) == (
        "line 2 of inputs/train.tsv: is not `<sha256>\\t<label>\\t<path>`\n"
        "-> submit the run again; tables are written by `bundle.py submit`"
    )


def test_parts_split_evenly_and_in_order() -> None:
    part = Part("train", (1, 2, 3, 4, 5), (0, 0, 0, 1, 1))
    pieces = part.split(3)
    assert [piece.indices for piece in pieces] == [(1, 2), (3, 4), (5,)]
    assert [piece.epochs for piece in pieces] == [(0, 0), (0, 1), (1,)]
    assert Part("val", (1,), None).split(4) == [Part("val", (1,), None)]
