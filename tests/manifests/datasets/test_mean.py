from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.datasets.mean import mean_bytes, scan_mean
from manifests.record.schema import ArrayIdentity

SHAPE = (3, 256, 256)


def saved(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_good_mean(tmp_path: Path, mean_bytes: bytes) -> None:
    (tmp_path / "mean.npy").write_bytes(mean_bytes)
    mean, problems = scan_mean(tmp_path / "mean.npy")
    assert mean is not None and problems == []
    assert mean.data == mean_bytes
    assert mean.identity == ArrayIdentity(
        sha256=hashlib.sha256(mean_bytes).hexdigest(), shape=[3, 256, 256], dtype="float32"
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (saved(np.zeros((3, 224, 224), "<f4")),
         "has shape (3, 224, 224), expected (3, 256, 256) (channel, row, column)"),
        # No machine has room for these.
        (b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, "
         b"'shape': (1000000000000,), } \n",
         "has shape (1000000000000,), expected (3, 256, 256) (channel, row, column)"),
        (saved(np.zeros(SHAPE)),
         "has dtype <f8, expected <f4; convert it with "
         "numpy.save(path, numpy.load(path).astype('<f4'))"),
        (saved(np.zeros(SHAPE, ">f4")),
         "has dtype >f4, expected <f4; convert it with "
         "numpy.save(path, numpy.load(path).astype('<f4'))"),
        (saved(np.full(SHAPE, np.nan, "<f4")), "holds values that are not finite"),
        (saved(np.append(np.full(3 * 2**16 - 1, 3e38, "<f4"), -np.float32("inf")).reshape(SHAPE)),
         "holds values that are not finite"),
        # Their sum in single precision is infinite.
        (saved(np.full(SHAPE, 3.4e38, "<f4")),
         "holds values from 3.4e+38 to 3.4e+38, expected 0 to 255, as pixels have"),
        (saved(np.full(SHAPE, -0.5, "<f4")),
         "holds values from -0.5 to -0.5, expected 0 to 255, as pixels have"),
        (saved(np.asfortranarray(np.full(SHAPE, 256, "<f4"))),
         "holds values from 256 to 256, expected 0 to 255, as pixels have"),
        (b"PK\x03\x04", "is not an .npy file"),
        (b"", "is not an .npy file"),
    ],
)  # fmt: skip
def test_bad_mean(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(data)
    assert scan_mean(path) == (None, [f"{path}: {problem}"])


@pytest.mark.parametrize(
    "data",
    [
        saved(np.zeros(SHAPE, "<f4"))[:-7],
        saved(np.array([{}], object), allow_pickle=True),
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\x05\x00{'a':",
        b"\x93NUMPY\x01\x00\x28\x23" + b"(" * 9000,
        saved(np.zeros(SHAPE, "<f4")).replace(b"(3, 256, 256)", b"(3, 256,-256)"),
    ],
)
def test_damaged_mean(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(data)
    mean, problems = scan_mean(path)
    assert mean is None
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: is damaged or holds no plain array: ")


@pytest.mark.parametrize(
    "data",
    [
        saved(np.asfortranarray(np.ones(SHAPE, "<f4"))),
        saved(np.ones(SHAPE, "<f4")) + b"more",  # NumPy reads what the header announces
    ],
)
def test_unusual_means(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(data)
    mean, problems = scan_mean(path)
    assert problems == [] and mean is not None
    assert mean.identity.sha256 == hashlib.sha256(data).hexdigest()


def test_a_mean_needs_no_numpy(tmp_path: Path, mean_bytes: bytes) -> None:
    path = tmp_path / "mean.npy"
    path.write_bytes(mean_bytes)
    code = (
        "import sys; from pathlib import Path; from manifests.datasets.mean import scan_mean\n"
        "mean, _ = scan_mean(Path(sys.argv[1]))\n"
        "print(mean.identity.sha256, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [hashlib.sha256(mean_bytes).hexdigest(), "False"]


def test_other_files_are_not_read_whole(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.touch()
    os.truncate(large, 10**12)
    assert scan_mean(pipe)[1] == [f"{pipe}: cannot be read: it is not a regular file"]
    assert scan_mean(large)[1] == [
        f"{large}: cannot be read: it has 1000000 MB, expected at most 100"
    ]


def test_missing_mean(tmp_path: Path) -> None:
    assert scan_mean(tmp_path / "no") == (
        None, [f"{tmp_path}/no: cannot be read: No such file or directory"],
    )  # fmt: skip


def test_the_file_of_sums(tmp_path: Path) -> None:
    total = np.zeros((256, 256, 3), np.int64)
    total[1, 2] = (7, 8, 3 * 255)
    (tmp_path / "mean.npy").write_bytes(mean_bytes(total, 3))
    found = np.load(tmp_path / "mean.npy")
    assert found.dtype == np.dtype("<f4")
    assert found[:, 1, 2].tolist() == [np.float32(7 / 3), np.float32(8 / 3), 255]
    assert scan_mean(tmp_path / "mean.npy")[1] == []
