from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container.trouble import Trouble
from manifests.datasets.mean import NEXT_STEP, read_mean
from manifests.schema import ArrayIdentity

SHAPE = (3, 256, 256)


def saved(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_good_mean(tmp_path: Path, mean_bytes: bytes) -> None:
    (tmp_path / "mean.npy").write_bytes(mean_bytes)
    mean = read_mean(tmp_path / "mean.npy")
    assert mean.data == mean_bytes
    assert mean.identity == ArrayIdentity(
        sha256=hashlib.sha256(mean_bytes).hexdigest(), shape=[3, 256, 256], dtype="float32"
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (saved(np.zeros((3, 224, 224), "<f4")),
         "has shape (3, 224, 224), expected (3, 256, 256) (channel, row, column)"),
        (saved(np.zeros(SHAPE)),
         "has dtype <f8, expected <f4; convert it with "
         "numpy.save(path, numpy.load(path).astype('<f4'))"),
        (saved(np.zeros(SHAPE, ">f4")),
         "has dtype >f4, expected <f4; convert it with "
         "numpy.save(path, numpy.load(path).astype('<f4'))"),
        (saved(np.full(SHAPE, np.nan, "<f4")), "holds values that are not finite"),
        (b"PK\x03\x04", "is no .npy file"),
        (b"", "is no .npy file"),
    ],
)  # fmt: skip
def test_bad_mean(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(data)
    with pytest.raises(Trouble) as caught:
        read_mean(path)
    assert str(caught.value) == f"{path}: {problem}\n-> {NEXT_STEP}"


@pytest.mark.parametrize(
    "data",
    [
        saved(np.zeros(SHAPE, "<f4"))[:-7],
        saved(np.array([{}], object), allow_pickle=True),
        b"\x93NUMPY\x01\x00",
    ],
)
def test_damaged_mean(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(data)
    with pytest.raises(Trouble) as caught:
        read_mean(path)
    assert caught.value.problems[0].startswith(f"{path}: is damaged or holds no plain array: ")
