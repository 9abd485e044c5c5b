"""Models to start from: taken, taken without their prefix, or refused before anything is made."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

from container.trouble import Trouble
from manifests.datasets.initmodel import NEXT_STEP, InitModel, read_initmodel
from manifests.record.network_shapes import network_shapes
from manifests.record.npz_file import npz_bytes

NIN = network_shapes("nin", 2).parameters
TOTAL = len(NIN)


def arrays(prefix: str = "") -> Dict[str, Any]:
    return {prefix + name: np.full(shape, 0.5, np.float32) for name, shape in NIN.items()}


def saved(path: Path, values: Dict[str, Any]) -> Path:
    with path.open("wb") as stream:
        np.savez(stream, **values)
    return path


def refusal(path: Path, arch: str = "nin") -> str:
    with pytest.raises(Trouble) as caught:
        read_initmodel(path, arch, 2)
    assert caught.value.next_step == NEXT_STEP
    (problem,) = caught.value.problems
    start = f"initmodel: {path}: "
    assert problem.startswith(start)
    return problem[len(start) :]


def names_in(model: InitModel) -> set[str]:
    with np.load(io.BytesIO(model.data), allow_pickle=False) as archive:
        return {name for name in archive.files if archive[name].dtype == np.float32}


def test_a_model_is_copied_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npz", arrays())
    found = read_initmodel(path, "nin", 2)
    assert found.data == path.read_bytes()
    assert found.sha256 == hashlib.sha256(found.data).hexdigest()
    assert (found.note, found.few) == (
        f"initmodel: {TOTAL} of {TOTAL} parameters of nin are in {path}",
        False,
    )


@pytest.mark.parametrize(
    "prefix",
    ["predictor/", "updater/model:main/", "updater/model:main/predictor/", "parameters/", "/"],
)
def test_a_prefix_is_left_out_and_said(tmp_path: Path, prefix: str) -> None:
    """With what a trainer's snapshot has besides: numbers, text, and None, which NumPy pickles."""
    more = {
        "updater/iteration": 5,
        "updater/optimizer:main/block1/conv/W/v": np.zeros(3),
        "updater/iterator:main/order": np.asarray(None),
        "extensions/LogReport/_log": "[]",
    }
    path = saved(tmp_path / "m.npz", {**arrays(prefix), **more})
    found = read_initmodel(path, "nin", 2)
    assert found.note == (
        f"initmodel: {TOTAL} of {TOTAL} parameters of nin are in {path}; "
        f"names there begin with {prefix}, which is left out"
    )
    assert found.data == npz_bytes(arrays())  # whatever the prefix: one model, one identity
    assert found.sha256 == hashlib.sha256(found.data).hexdigest()


def test_what_is_pickled_beside_the_model_is_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npz", {**arrays(), "extra": np.asarray(None)})
    assert names_in(read_initmodel(path, "nin", 2)) == set(NIN)


def test_a_model_of_other_classes_says_what_stays(tmp_path: Path) -> None:
    values = {
        name: np.zeros(shape, np.float32)
        for name, shape in network_shapes("nin", 1000).parameters.items()
    }
    del values["block1/mlp1/b"]
    path = saved(tmp_path / "m.npz", values)
    found = read_initmodel(path, "nin", 2)
    assert (found.note, found.few) == (
        f"initmodel: {TOTAL - 3} of {TOTAL} parameters of nin are in {path}; the network's own "
        "values stay where block4/mlp2/W is (1000, 1024, 1, 1) in the file, (2, 1024, 1, 1) in "
        "the network, block4/mlp2/b is (1000,) in the file, (2,) in the network; "
        "it lacks block1/mlp1/b",
        False,
    )
    assert found.data == path.read_bytes()


def test_few_that_fit_are_a_warning(tmp_path: Path) -> None:
    name = "block1/conv/W"
    path = saved(tmp_path / "m.npz", {name: arrays()[name]})
    found = read_initmodel(path, "nin", 2)
    lacked = ", ".join([other for other in NIN if other != name][:3])
    assert (found.note, found.few) == (
        f"initmodel: 1 of {TOTAL} parameters of nin are in {path}; "
        f"it lacks {lacked} and {TOTAL - 4} more",
        True,
    )


def test_few_under_a_prefix_are_refused(tmp_path: Path) -> None:
    name = "updater/model:main/block1/conv/W"
    path = saved(tmp_path / "m.npz", {name: np.zeros((96, 3, 11, 11), np.float32)})
    assert refusal(path) == (
        f"only 1 of the {TOTAL} parameters of nin fit, under names that begin with "
        "updater/model:main/: this is not a whole nin"
    )


def test_none_that_fits(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npz", arrays())
    first = next(iter(network_shapes("alex", 2).parameters))
    total = len(network_shapes("alex", 2).parameters)
    some = ", ".join(sorted(NIN)[:3])
    assert refusal(path, "alex") == (
        f"holds none of the {total} parameters of alex, such as {first}; "
        f"it holds {some} and {TOTAL - 3} more"
    )
    saved(path, {"block1/conv/W": np.zeros(3), "block1/conv/b": np.array(["x"])})
    assert refusal(path) == (
        f"none of the {TOTAL} parameters of nin fits: block1/conv/W is (3,) in the file, "
        "(96, 3, 11, 11) in the network, block1/conv/b is <U1 in the file, which is not a real "
        "number"
    )
    saved(path, {})
    assert refusal(path).endswith("; it holds nothing")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite(tmp_path: Path, value: float) -> None:
    values = {name: array.astype(np.float64) for name, array in arrays().items()}
    values["block1/conv/W"][0, 0, 0, :3] = value
    assert refusal(saved(tmp_path / "m.npz", values)) == (
        "block1/conv/W holds 3 of 34848 values that are not finite as float32"
    )


def test_whole_and_half_numbers_are_taken(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float64, np.int8):
        values = {name: array.astype(dtype) for name, array in arrays().items()}
        path = saved(tmp_path / "m.npz", values)
        assert read_initmodel(path, "nin", 2).data == path.read_bytes()


def test_pickled_parameters_are_refused_and_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was read",))

    values = {**arrays(), "block1/conv/W": np.array([Trap()], dtype=object)}
    assert refusal(saved(tmp_path / "m.npz", values)) == (
        "block1/conv/W is pickled data, which could run any program when it is read"
    )


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    torch = io.BytesIO()
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for data, problem in (
        (b"", "is empty"),
        (
            b"\x89HDF\r\n\x1a\n" + bytes(100),
            "is an HDF5 file, as save_hdf5 writes them, expected .npz",
        ),
        (array.getvalue(), "is a single array (.npy), expected .npz"),
        (pickle.dumps({}), "is a pickle, expected .npz"),
        (b"\x1f\x8b\x08\0", "is compressed by gzip, expected .npz"),
        (b"hello", "is not an .npz file"),
        (torch.getvalue(), "is a file of PyTorch, expected .npz"),
    ):  # fmt: skip
        path.write_bytes(data)
        assert refusal(path) == problem


def test_half_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npz", arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "is damaged or was cut off: its list of contents is missing"
    place = whole.index(b"\x93NUMPY") + 200
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert refusal(path) == ("block1/conv/W is damaged: Bad CRC-32 for file 'block1/conv/W.npy'")


def test_damage_in_each_way_of_compressing(tmp_path: Path) -> None:
    """zlib, bzip2 and lzma have errors of their own, some of them of no common kind."""
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{method}.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, array in arrays().items():
                with archive.open(f"{name}.npy", "w") as stream:
                    np.save(stream, array)
            first = archive.infolist()[0]
        whole = path.read_bytes()
        begin = first.header_offset + 30 + len(first.filename)
        path.write_bytes(whole[:begin] + b"\xff" * 40 + whole[begin + 40 :])
        assert refusal(path).startswith("block1/conv/W is damaged: ")


def headed(header: str) -> bytes:
    """A .npy file with this header and no values."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


def with_member(path: Path, name: str, data: bytes) -> Path:
    """The model with other bytes in the place of one array, or beside the arrays."""
    saved(path, {other: array for other, array in arrays().items() if other != name})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    "header",
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "(" * 9000, "", "\xff\0"],
)
def test_a_header_that_is_no_python(tmp_path: Path, header: str) -> None:
    path = with_member(tmp_path / "m.npz", "block1/conv/W", headed(header))
    assert refusal(path).startswith("block1/conv/W is damaged: its header cannot be read: ")


@pytest.mark.parametrize("side", [10**12, 10**30])
def test_a_size_that_no_machine_has_room_for(tmp_path: Path, side: int) -> None:
    header = headed(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({side},), }}")
    path = with_member(tmp_path / "m.npz", "block1/conv/W", header)
    found = read_initmodel(path, "nin", 2)
    assert f"block1/conv/W is ({side},) in the file, (96, 3, 11, 11) in the network" in found.note
    # The trainer, which reads all that is there, does not meet it.
    assert names_in(found) == set(NIN) - {"block1/conv/W"}


def test_what_the_trainer_cannot_read_beside_the_model_is_left_out(tmp_path: Path) -> None:
    plain = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
    cut_off, large = headed(plain) + bytes(15), headed(plain) + bytes(80 * 10**6)
    for data in (b"no array", cut_off, large):
        path = with_member(tmp_path / "m.npz", "extra", data)
        assert names_in(read_initmodel(path, "nin", 2)) == set(NIN)
    path = with_member(tmp_path / "m.npz", "extra", headed(plain) + bytes(16))
    assert read_initmodel(path, "nin", 2).data == path.read_bytes()


def test_a_pipe_is_no_model_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.npz")
    with pytest.raises(Trouble) as caught:
        read_initmodel(tmp_path / "m.npz", "nin", 2)
    assert caught.value.problems == [
        f"initmodel: {tmp_path}/m.npz: cannot be read: it is not a regular file"
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "no", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(Trouble) as caught:
            read_initmodel(path, "nin", 2)
        assert (caught.value.problems, caught.value.next_step) == (
            [f"initmodel: {path}: cannot be read: {reason}"],
            "give the path of a model file (.npz), or leave the key out",
        )
