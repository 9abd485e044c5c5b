"""Where the data of an old run is now: moved, packed, or packed no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.pack import pack
from manifests.flows.recorded_data import data_moved, data_there, restore_step
from manifests.flows.resume import missing_data
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance
from manifests.rundir.records import read_manifest
from manifests.rundir.verify import before_problems, verify_run
from tests.records import manifest


def packed(**paths: Any) -> Circumstance:
    packs = {"train_pack": "/data/train.pack", "val_pack": "/fast/val.pack"}
    circumstance = manifest(**{**packs, **paths}).circumstance
    custom = circumstance.loading.model_copy(update={"loadtype": "custom"})
    return circumstance.model_copy(update={"loading": custom})


def moved(circumstance: Circumstance, changes: Dict[str, str]) -> List[Any]:
    paths = data_moved(circumstance, changes).paths
    return [paths.train_root, paths.val_root, paths.train_pack, paths.val_pack]


def test_roots_and_packed_files_move() -> None:
    assert moved(packed(), {"/data": "/new", "/fast/val.pack": "/v.pack"}) == [
        "/new/train", "/new/val", "/new/train.pack", "/v.pack",
    ]  # fmt: skip
    assert moved(manifest().circumstance, {"/data/val": "/v"}) == ["/data/train", "/v", None, None]


def test_what_lies_nowhere_is_named() -> None:
    with pytest.raises(Trouble) as caught:
        data_moved(packed(), {"/dat": "/new"})
    assert str(caught.value) == (
        "--data /dat=/new: no recorded data lies below /dat\n"
        "-> recorded roots: /data/train, /data/train.pack, /data/val, /fast/val.pack"
    )


def test_images_stand_in_for_packed_files_that_are_gone(tmp_path: Path) -> None:
    there, gone = tmp_path / "train.pack", tmp_path / "val.pack"
    there.touch()
    places = {"train_pack": str(there), "val_pack": str(gone)}
    circumstance = packed(**places, train_root=str(tmp_path), val_root=str(tmp_path))
    again, warnings = data_there(circumstance)
    assert again.loading.loadtype == "original"
    assert (again.paths.train_pack, again.paths.val_pack) == (None, None)
    assert again.paths.train_root == str(tmp_path)
    assert warnings == [
        f"packed data is gone: {gone}; loadtype original is used instead of custom, "
        f"with the images in {tmp_path}"
    ]
    gone.touch()
    assert data_there(circumstance) == (circumstance, [])
    gone.unlink()
    nowhere = packed(**places, train_root=str(tmp_path), val_root=str(tmp_path / "no"))
    assert data_there(nowhere) == (nowhere, [])
    plain = manifest().circumstance
    assert data_there(plain) == (plain, [])


def test_a_resumed_run_needs_what_its_script_binds(tmp_path: Path) -> None:
    pack_there = {"train_pack": str(tmp_path / "a.pack"), "val_pack": str(tmp_path / "b.pack")}
    circumstance = packed(**pack_there)
    (tmp_path / "a.pack").touch()
    assert missing_data(circumstance) == [f"{tmp_path}/b.pack: does not exist"]
    (tmp_path / "b.pack").touch()
    assert missing_data(circumstance) == []
    assert missing_data(manifest(train_root=str(tmp_path)).circumstance) == [
        "/data/val: does not exist"
    ]


def test_next_steps() -> None:
    assert restore_step(manifest().circumstance) == (
        "restore what was altered; for data that moved: --data OLD=NEW"
    )
    assert restore_step(packed()) == (
        "restore what was altered, or pack the images again (python bundle.py data pack LIST); "
        "for data that moved: --data OLD=NEW"
    )


def test_packed_files_take_part_in_verify(
    finished_run: RunFiles, data_set: Path, tmp_path: Path
) -> None:
    for name in ("train", "val"):
        pack(data_set / f"{name}.txt", data_set, tmp_path / f"{name}.pack", progress=Silent())
    places = {f"{name}_pack": str(tmp_path / f"{name}.pack") for name in ("train", "val")}
    circumstance = packed(**places, train_root="/no", val_root="/no")
    known = read_manifest(finished_run)
    image = tmp_path / "image.sif"
    image.write_bytes(b"image")

    def verify(read_data: bool = True) -> List[str]:
        return verify_run(
            finished_run, image_path=lambda _identity: image, progress=Silent(),
            circumstance=circumstance, check_data=read_data,
        ).all  # fmt: skip

    def before() -> List[str]:
        return before_problems(
            finished_run, known, circumstance=circumstance, cache_folder=None, progress=Silent()
        )

    # The lock of this run is not a lock: nobody can say what decodes in its image.
    assert verify() == before() == []
    with Path(circumstance.paths.val_pack or "").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"?")
    name = finished_run.val_table.read_text().splitlines()[1].split("\t")[2]
    (problem,) = verify()
    assert problem.startswith(
        f"inputs/val.tsv, line 2: the pixels of {name} in {tmp_path}/val.pack were altered: sha256"
    )
    assert before() == [problem]
    assert verify(read_data=False) == []
    (tmp_path / "train.pack").unlink()
    assert verify(read_data=False) == [
        f"inputs/train.tsv: its packed file {tmp_path}/train.pack does not exist"
    ]
