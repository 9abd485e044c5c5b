"""Inputs of runs in one folder: one file with several names, and no run depends on another"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from manifests.rundir.shared_inputs import share_bytes, share_folder

DATA = os.urandom(1 << 17)


def new_run(out: Path, second: int) -> Path:
    inputs = out / f"a-20260101T0000{second:02}Z-0123abcd" / "inputs"
    inputs.mkdir(parents=True)
    return inputs


@pytest.fixture
def out(tmp_path: Path) -> Path:
    share_bytes(new_run(tmp_path, 1) / "train.tsv", DATA, tmp_path)
    return tmp_path


def first(out: Path) -> Path:
    return out / "a-20260101T000001Z-0123abcd" / "inputs" / "train.tsv"


def test_equal_inputs_are_one_file_and_outlive_the_run_that_had_them_first(out: Path) -> None:
    second, third = (new_run(out, number) / "train.tsv" for number in (2, 3))
    share_bytes(second, DATA, out)
    share_bytes(third, DATA, out)
    assert first(out).stat().st_nlink == 3
    assert second.samefile(first(out))
    shutil.rmtree(first(out).parents[1])
    assert second.read_bytes() == third.read_bytes() == DATA
    assert second.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("altered", [DATA[:-1] + bytes([DATA[-1] ^ 1]), DATA[:-1], DATA + b"!"])
def test_bytes_that_differ_are_never_linked(out: Path, altered: bytes) -> None:
    first(out).chmod(0o644)
    first(out).write_bytes(altered)
    second = new_run(out, 2) / "train.tsv"
    share_bytes(second, DATA, out)
    assert second.read_bytes() == DATA and second.stat().st_nlink == 1


def test_a_link_or_a_folder_in_its_place_is_not_taken(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.write_bytes(DATA)
    first(out).unlink()
    first(out).symlink_to(other)
    (new_run(out, 2) / "train.tsv").mkdir()
    third = new_run(out, 3) / "train.tsv"
    share_bytes(third, DATA, out)
    assert third.stat().st_nlink == 1 and not third.is_symlink()


def test_a_file_system_without_links_gets_copies(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    second = new_run(out, 2) / "train.tsv"
    share_bytes(second, DATA, out)
    assert second.read_bytes() == DATA and second.stat().st_nlink == 1
    target = out / "a-20260101T000003Z-0123abcd" / "inputs"
    target.parent.mkdir()
    share_folder(second.parent, target)
    assert (target / "train.tsv").read_bytes() == DATA


def test_small_files_are_written(out: Path) -> None:
    for number in (2, 3):
        share_bytes(new_run(out, number) / "mean.npy", b"small", out)
    assert all(path.stat().st_nlink == 1 for path in out.glob("*/inputs/mean.npy"))


def test_a_rerun_shares_with_its_run_in_the_same_folder_only(out: Path, tmp_path: Path) -> None:
    for where, links in ((out, 2), (tmp_path / "other", 1)):
        target = where / "a-20260101T000009Z-0123abcd" / "inputs"
        target.parent.mkdir(parents=True)
        share_folder(first(out).parent, target)
        assert (target / "train.tsv").read_bytes() == DATA
        assert (target / "train.tsv").stat().st_nlink == links
        shutil.rmtree(target.parent)
