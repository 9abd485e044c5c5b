"""Packed files as the trainer reads them: the same pixels, and each way in which one is wrong."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from manifests.record.packed_file import RECORD, Decoder, PackedFile, own_decoder
from trainer import image
from trainer.loadtypes.custom import PACK_AGAIN, PackedImages
from trainer.loadtypes.original import OriginalImages
from trainer.sampleset import SampleSet
from trainer.trouble import TrainerError

WHERE = "the packed file /here/train.pack"


@pytest.fixture
def case(make_case: Callable[..., Any]) -> Any:
    return make_case(loading={"loadtype": "custom"})


def opened(case: Any, kind: Any = PackedImages, insize: int = 67, paper_side: int = 227) -> Any:
    files = case.files
    samples = SampleSet(
        files.train_table, case.train_root, files.mean, 7, insize, paper_side,
        case.train_pack, "/here/train.pack",
    )  # fmt: skip
    return kind(samples, np.zeros(10, np.uint8))


def refusal(case: Any, index: int | None = None) -> str:
    with pytest.raises(TrainerError) as caught:
        samples = opened(case)
        if index is not None:
            samples.load((index,), (0,), np.empty((1, 3, 67, 67), np.float32))
    assert caught.value.next_step == PACK_AGAIN
    return caught.value.message


def patch(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def encoded(kind: str) -> bytes:
    noise = np.random.Generator(np.random.Philox(len(kind))).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    if kind == "progressive":
        picture.save(stream, "JPEG", quality=75, subsampling=2, progressive=True)
    else:
        picture.convert(kind).save(stream, "PNG" if kind in ("P", "RGBA", "LA") else "JPEG")
    return stream.getvalue()


def test_records_are_what_the_trainer_decodes(case: Any) -> None:
    kinds = ["RGB", "L", "CMYK", "P", "RGBA", "LA", "progressive"]
    for name, kind in zip(case.train, kinds):
        (case.train_root / name).write_bytes(encoded(kind))
    case.pack()
    with PackedFile(case.train_pack) as pack:
        for index, name in enumerate(case.train):
            decoded = image.decode((case.train_root / name).read_bytes(), name)
            assert pack.record(index) == np.asarray(decoded).transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(("insize", "paper_side"), [(67, 227), (227, 227), (256, 224)])
def test_samples_are_those_of_the_images(case: Any, insize: int, paper_side: int) -> None:
    packed = opened(case, PackedImages, insize, paper_side)
    original = opened(case, OriginalImages, insize, paper_side)
    outs = np.zeros((2, 3, insize, insize), np.float32)
    for index in range(10):
        for epochs in ((0,), (1,), (2,), None):
            packed.load((index,), epochs, outs[0][None])
            original.load((index,), epochs, outs[1][None])
            assert outs[0].tobytes() == outs[1].tobytes()


def test_the_images_are_not_needed(case: Any) -> None:
    shutil.rmtree(case.train_root)
    opened(case).load((3,), (0,), np.empty((1, 3, 67, 67), np.float32))


def test_cut_off(case: Any) -> None:
    size = case.train_pack.stat().st_size
    os.truncate(case.train_pack, size - 1)
    assert refusal(case) == f"{WHERE} is cut off: it has {size - 1} bytes, expected {size}"
    os.truncate(case.train_pack, 20)
    assert refusal(case) == f"{WHERE} is cut off"
    os.truncate(case.train_pack, 0)
    assert refusal(case) == f"{WHERE} is not a packed file"


def test_too_long(case: Any) -> None:
    size = case.train_pack.stat().st_size
    os.truncate(case.train_pack, size + 1)
    assert refusal(case) == f"{WHERE} is too long: it has {size + 1} bytes, expected {size}"


def test_cut_off_while_it_is_used(case: Any) -> None:
    samples, size = opened(case), case.train_pack.stat().st_size
    out = np.empty((3, 67, 67), np.float32)
    samples.load((9,), (0,), out[None])
    os.truncate(case.train_pack, size - RECORD // 2)
    samples.load((8,), (0,), out[None])
    with pytest.raises(TrainerError) as caught:
        samples.load((9,), (0,), out[None])
    assert str(caught.value) == (
        "image '009.jpg' (line 10 of inputs/train.tsv): its packed file /here/train.pack was cut "
        f"off while the run was under way\n-> {PACK_AGAIN}"
    )


def test_disk_error(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = opened(case)

    def broken(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(TrainerError) as caught:
        samples.load((0,), (0,), np.empty((1, 3, 67, 67), np.float32))
    assert str(caught.value) == (
        "image 'plain.jpg' (line 1 of inputs/train.tsv): its packed file /here/train.pack cannot "
        f"be read from: Input/output error\n-> {PACK_AGAIN}"
    )


def test_other_version(case: Any) -> None:
    patch(case.train_pack, 8, b"\2\0\1\0")
    assert refusal(case) == f"{WHERE} is of version 2.1, this bundle reads version 1.x"
    patch(case.train_pack, 8, b"\1\0\7\0")  # a later minor version
    opened(case)


def test_no_packed_file_at_all(case: Any) -> None:
    case.train_pack.write_text("train/a.jpg 0\n")
    assert refusal(case) == f"{WHERE} is not a packed file"
    case.train_pack.unlink()
    assert refusal(case) == f"{WHERE} cannot be read: No such file or directory"
    case.train_pack.mkdir()
    assert refusal(case) == f"{WHERE} cannot be read: Is a directory"


def test_altered_header_and_index(case: Any) -> None:
    data = case.train_pack.read_bytes()
    patch(case.train_pack, 48, b"[")
    assert refusal(case) == f"{WHERE} was altered: its header cannot be read"
    case.train_pack.write_bytes(data)
    patch(case.train_pack, data.index(b'"pillow":"') + 10, b"9")
    assert refusal(case) == f"{WHERE} was altered: its index does not fit its checksum"
    case.train_pack.write_bytes(data)
    patch(case.train_pack, 4096 + 5, bytes([data[4096 + 5] ^ 1]))
    assert refusal(case) == f"{WHERE} was altered: its index does not fit its checksum"
    case.train_pack.write_bytes(data)
    opened(case)


def test_other_number_of_images(case: Any) -> None:
    shutil.copyfile(case.val_pack, case.train_pack)
    assert refusal(case) == f"{WHERE} holds 5 images, inputs/train.tsv has 10"


def test_another_image(case: Any) -> None:
    names = [case.train_root / name for name in case.train]
    old = case.files.train_table.read_text().split("\t")[0]
    names[0].write_bytes(names[1].read_bytes())
    case.pack()
    new = PackedFile(case.train_pack).image_digest(0).hex()
    assert refusal(case, 0) == (
        "image 'plain.jpg' (line 1 of inputs/train.tsv): its packed file /here/train.pack holds "
        f"another image: expected sha256 {old}, found {new}"
    )


def test_altered_pixels(case: Any) -> None:
    patch(case.train_pack, case.train_pack.stat().st_size - 1, b"\xaa")
    with PackedFile(case.train_pack) as pack:
        assert pack.record(9)[-1] == 0xAA
    assert refusal(case, 9) == (
        "image '009.jpg' (line 10 of inputs/train.tsv): its packed file /here/train.pack was "
        "altered: its pixels do not fit their sha256"
    )
    opened(case).load((8,), (0,), np.empty((1, 3, 67, 67), np.float32))


def test_pixels_of_another_decoder(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Decoder(pillow="9.4.0", libjpeg_turbo="2.1.5")
    monkeypatch.setattr("manifests.datasets.pack.own_decoder", lambda: other)
    case.pack()
    assert refusal(case) == (
        f"{WHERE} has pixels made by Pillow 9.4.0 and libjpeg-turbo 2.1.5, "
        f"this image decodes with {own_decoder()}"
    )


def test_records_in_place_are_those_that_are_read(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.record.packed_file._MAPPED", 3)  # mapped anew on the way
    with PackedFile(case.train_pack) as pack:
        for index in [*range(10), 0]:
            seen = pack.mapped(index)
            assert seen is not None
            assert bytes(seen) == pack.record(index)


def test_a_record_that_is_not_there_is_not_seen_in_place(case: Any) -> None:
    """To look at a page that cannot be read would end the process."""
    with PackedFile(case.train_pack) as pack:
        assert pack.mapped(9) is not None
        os.truncate(case.train_pack, case.train_pack.stat().st_size - RECORD)
        assert pack.mapped(9) is None
        assert pack.mapped(8) is not None


def test_a_kernel_that_cannot_be_asked_for_pages_maps_none(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.record.packed_file._POPULATE_READ", 99)
    with PackedFile(case.train_pack) as pack:
        assert pack.mapped(9) is None
    samples, out = opened(case), np.empty((2, 1, 3, 67, 67), np.float32)
    for place in out:
        samples.load((3,), (0,), place)
    assert out[0].tobytes() == out[1].tobytes()
